-- Begins a life of the log where there is none, and finds out whether what a node knows of it still holds.
-- KEYS: log, meta
-- ARGV: epoch of a new life, then of a node that comes back: epoch, last place, time of that entry
local epoch = redis.call('HGET', KEYS[2], 'epoch')
if not epoch then
  epoch = ARGV[1]
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[2], 'epoch', epoch, 'head', '0', 'forgotten', '0')
end
local head = tonumber(redis.call('HGET', KEYS[2], 'head'))
if ARGV[2] and epoch == ARGV[2] then
  local entry = redis.call('XRANGE', KEYS[1], ARGV[3] .. '-0', ARGV[3] .. '-0')[1]
  local other = entry and ARGV[4] ~= '' and entry[2][4] ~= ARGV[4]
  if head < tonumber(ARGV[3]) or other then
    -- A number has meant two messages: from here on positions have another name.
    epoch = ARGV[1]
    redis.call('HSET', KEYS[2], 'epoch', epoch)
  end
end
return {epoch, string.format('%.0f', head)}
