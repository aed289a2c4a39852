-- Numbers and appends messages, all or none: checks what their publishers expect, and knows the ids of repeated ones.
-- KEYS: log, meta, last, ids, ended
-- ARGV: epoch, last place that the node knows, ids kept, channels kept, messages, (channel, id, bytes) for each,
--       (item, last) for each expectation
local head = tonumber(redis.call('HGET', KEYS[2], 'head') or '')
if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[1] or head < tonumber(ARGV[2]) then return {-1} end
local messages = tonumber(ARGV[5])

local function message(item)
  local at = 6 + 3 * (item - 1)
  return ARGV[at], ARGV[at + 1], ARGV[at + 2]
end

local function find(channel, id)
  if id == '' then return nil end
  local place = tonumber(redis.call('ZSCORE', KEYS[4], channel .. '\0' .. id) or '')
  local ended = tonumber(redis.call('ZSCORE', KEYS[5], channel) or '')
  if not place or (ended and place <= ended) then return nil end
  return place
end

for at = 6 + 3 * messages, #ARGV, 2 do
  local item = tonumber(ARGV[at])
  local channel, id = message(item)
  local last = redis.call('ZSCORE', KEYS[3], channel) or ''
  if last ~= ARGV[at + 1] and not find(channel, id) then return {0, item - 1, tonumber(last) or 0} end
end

local time = redis.call('TIME')
local now = time[1] .. string.format('%06d', time[2])
local places = {1}
for item = 1, messages do
  local channel, id, bytes = message(item)
  local first = find(channel, id)
  if first then
    places[item + 1] = -first
  else
    head = head + 1
    local place = string.format('%.0f', head)
    redis.call('XADD', KEYS[1], place .. '-0', 'm', bytes, 't', now)
    redis.call('ZADD', KEYS[3], place, channel)
    if id ~= '' then redis.call('ZADD', KEYS[4], place, channel .. '\0' .. id) end
    places[item + 1] = head
  end
end
redis.call('HSET', KEYS[2], 'head', string.format('%.0f', head))
redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -tonumber(ARGV[3]) - 1)
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -tonumber(ARGV[4]) - 1)
return places
