-- Removes messages that no channel keeps, and remembers that they are gone.
-- KEYS: log, meta, past, order
-- ARGV: epoch, forgotten, channels kept, accounts, (channel, dropped, account) for each, places to remove
if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[1] then return -1 end
local forgotten = math.max(tonumber(redis.call('HGET', KEYS[2], 'forgotten')), tonumber(ARGV[2]))
local places = 5 + 3 * tonumber(ARGV[4])
for at = 5, places - 1, 3 do
  local known = tonumber(redis.call('ZSCORE', KEYS[4], ARGV[at]) or '')
  if not known or known < tonumber(ARGV[at + 1]) then
    redis.call('ZADD', KEYS[4], ARGV[at + 1], ARGV[at])
    redis.call('HSET', KEYS[3], ARGV[at], ARGV[at + 2])
  end
end
while redis.call('ZCARD', KEYS[4]) > tonumber(ARGV[3]) do
  local oldest = redis.call('ZPOPMIN', KEYS[4])
  redis.call('HDEL', KEYS[3], oldest[1])
  forgotten = math.max(forgotten, tonumber(oldest[2]))
end
redis.call('HSET', KEYS[2], 'forgotten', string.format('%.0f', forgotten))
for at = places, #ARGV do redis.call('XDEL', KEYS[1], ARGV[at] .. '-0') end
return 0
