-- KEYS: entry, lease. ARGV: token, ttl in ms, not after, what was unreadable
local entry = redis.pcall('GET', KEYS[1])
if type(entry) == 'string' then
  if entry ~= ARGV[4] then
    return entry
  end
elseif entry and entry.err and not string.find(entry.err, 'WRONGTYPE', 1, true) then
  return entry
end
if in_vain(ARGV[3]) then
  return {3, 0, now}
end
local token = redis.pcall('HGET', KEYS[2], 't')
if type(token) == 'table' then
  redis.call('DEL', KEYS[2])
  token = false
end
if token and token ~= ARGV[1] then
  local told = redis.pcall('HSET', KEYS[2], 'w:' .. string.match(ARGV[1], '@(.*)$'), '')
  local left = redis.call('PTTL', KEYS[2])
  if left < 0 then
    -- Not one of ours, all of which end.
    redis.call('PEXPIRE', KEYS[2], ARGV[2])
    left = tonumber(ARGV[2])
  end
  if type(told) == 'table' then
    left = math.min(left, 500)
  end
  return {2, left, now}
end
redis.call('HSET', KEYS[2], 't', ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return {1, 0, now}
