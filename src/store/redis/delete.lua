-- Deletes a channel: takes a place in the order for it, so that every node does it between the same two messages.
-- KEYS: log, meta, ended
-- ARGV: epoch, channels kept, channel
if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[1] then return -1 end
local place = string.format('%.0f', tonumber(redis.call('HGET', KEYS[2], 'head')) + 1)
local time = redis.call('TIME')
redis.call('XADD', KEYS[1], place .. '-0', 'd', ARGV[3], 't', time[1] .. string.format('%06d', time[2]))
redis.call('ZADD', KEYS[3], place, ARGV[3])
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -tonumber(ARGV[2]) - 1)
redis.call('HSET', KEYS[2], 'head', place)
return tonumber(place)
