-- KEYS: entry, lease
-- ARGV: token, ttl in ms, not after, 'wait' | 'overwrite' | age in µs from which the lease may be joined
-- [, length and start of the entry to replace | with 'overwrite': channel of resets, key]
-- Returns the entry, or {code, number, now}. With 'overwrite', the number is 1 if the reset could not be published.
local claim = ARGV[4]
if claim ~= 'overwrite' then
  local entry = redis.pcall('GET', KEYS[1])
  if type(entry) == 'string' then
    if #entry ~= tonumber(ARGV[5]) or string.sub(entry, 1, #ARGV[6]) ~= ARGV[6] then
      return entry
    end
  elseif entry and entry.err and not string.find(entry.err, 'WRONGTYPE', 1, true) then
    return entry
  end
end
if in_vain(ARGV[3]) then
  return {3, 0, now}
end
local left = redis.call('PTTL', KEYS[2])
local mine = left ~= -2 and redis.pcall('HEXISTS', KEYS[2], 't:' .. ARGV[1])
if type(mine) == 'table' then
  -- Another program uses the name.
  redis.call('DEL', KEYS[2])
  left, mine = -2, false
end
local untold = 0
if claim == 'overwrite' then
  -- The deletion comes first: after one, a full server lets the script write.
  redis.call('DEL', KEYS[1])
  for _, field in ipairs(fields(KEYS[2])) do
    if string.sub(field, 1, 2) ~= 'w:' then
      redis.call('HDEL', KEYS[2], field)
    end
  end
  untold = void(ARGV[5], ARGV[6]) and 0 or 1
elseif left ~= -2 and mine ~= 1 then
  local wait = left
  if claim ~= 'wait' then
    local round = redis.call('HMGET', KEYS[2], 's', 'n', 'l')
    -- Without `s`, another program made the hash. A later `s` means that the clock was set back.
    local since = math.min(tonumber(round[1] or now), now)
    local width, free = tonumber(round[2] or 0), tonumber(round[3] or 0)
    if now - since >= tonumber(claim) then
      width = math.min(math.max(2 * width, 1), 1000000000)
      since, free = now, width
    end
    local joins = free > 0
    redis.call('HSET', KEYS[2], 's', since, 'n', width, 'l', joins and free - 1 or free)
    if joins then
      redis.call('HSET', KEYS[2], 't:' .. ARGV[1], '')
      redis.call('PEXPIRE', KEYS[2], ARGV[2])
      return {1, 0, now}
    end
    wait = math.min(wait, math.ceil((since + claim - now) / 1000))
  end
  local told = redis.pcall('HSET', KEYS[2], 'w:' .. string.match(ARGV[1], '@(.*)$'), '')
  if left < 0 then
    -- A lease always ends, so another program made the hash.
    redis.call('PEXPIRE', KEYS[2], ARGV[2])
    wait = tonumber(ARGV[2])
  end
  if type(told) == 'table' then
    wait = math.min(wait, 500)
  end
  return {2, wait, now}
end
if mine ~= 1 or claim == 'overwrite' then
  redis.call('HSET', KEYS[2], 't:' .. ARGV[1], '', 's', now)
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return {1, untold, now}
