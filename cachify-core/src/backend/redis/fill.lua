-- KEYS: entry, lease. ARGV: token, channel, message[, bytes[, ttl in ms]]
if redis.pcall('HGET', KEYS[2], 't') ~= ARGV[1] then
  return 0
end
local stored = {}
if ARGV[5] then
  stored = redis.pcall('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
elseif ARGV[4] then
  stored = redis.pcall('SET', KEYS[1], ARGV[4])
end
local waiting = fields(KEYS[2])
redis.call('DEL', KEYS[2])
tell(waiting, ARGV[2], ARGV[3])
if stored.err then
  return stored
end
return 1
