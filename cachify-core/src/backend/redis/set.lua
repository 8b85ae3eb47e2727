-- KEYS: entry, lease. ARGV: not after, channel, message, bytes[, ttl in ms]
if in_vain(ARGV[1]) then
  return {3, 0, now}
end
local stored
if ARGV[5] then
  stored = redis.pcall('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
else
  stored = redis.pcall('SET', KEYS[1], ARGV[4])
end
-- A full server keeps neither the new value nor the old one.
if stored.err then
  redis.call('DEL', KEYS[1])
end
local waiting = fields(KEYS[2])
redis.call('DEL', KEYS[2])
tell(waiting, ARGV[2], ARGV[3])
if stored.err then
  return stored
end
return {1, 0, now}
