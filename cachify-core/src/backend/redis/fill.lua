-- KEYS: entry, lease. ARGV: token, channel, message[, bytes[, ttl in ms]]
local mine = 't:' .. ARGV[1]
if redis.pcall('HEXISTS', KEYS[2], mine) ~= 1 then
  return 0
end
local stored = {}
if ARGV[5] then
  stored = redis.pcall('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
elseif ARGV[4] then
  stored = redis.pcall('SET', KEYS[1], ARGV[4])
end
local found = fields(KEYS[2])
if not ARGV[4] then
  for _, field in ipairs(found) do
    if field ~= mine and string.sub(field, 1, 2) == 't:' then
      -- Other tokens may still fill the entry.
      redis.call('HDEL', KEYS[2], mine)
      return 1
    end
  end
end
redis.call('DEL', KEYS[2])
tell(found, ARGV[2], ARGV[3])
if stored.err then
  return stored
end
return 1
