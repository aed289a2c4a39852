-- Tells every node something, between the same two messages at each, and remembers its name for those that start later.
-- KEYS: log, meta, words
-- ARGV: epoch, when it was said, name, what only listeners hear, names kept, up to when they are forgotten
if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[1] then return -1 end
local place = string.format('%.0f', tonumber(redis.call('HGET', KEYS[2], 'head')) + 1)
local time = redis.call('TIME')
local now = time[1] .. string.format('%06d', time[2])
redis.call('XADD', KEYS[1], place .. '-0', 'w', ARGV[3], 't', now, 'x', ARGV[4], 'a', ARGV[2])
redis.call('HSET', KEYS[2], 'head', place)
redis.call('ZADD', KEYS[3], 'GT', ARGV[2], ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', '(' .. ARGV[6])
while redis.call('ZCARD', KEYS[3]) > tonumber(ARGV[5]) do
  local at = tonumber(redis.call('ZPOPMIN', KEYS[3])[2])
  local forgotten = tonumber(redis.call('HGET', KEYS[2], 'words_forgotten') or '0')
  redis.call('HSET', KEYS[2], 'words_forgotten', string.format('%.0f', math.max(at, forgotten)))
end
return tonumber(place)
