-- KEYS: holders, queue, places, ended, nodes[, fence]
-- ARGV: token, channel, slot text, not after, ttl in µs, ttl in ms, max[, wait in µs, life of the node's waiters in µs]
-- Returns {code, fencing token or time in µs, now[, place]}.
if in_vain(ARGV[4]) then
  return {3, 0, now}
end

local function grant()
  local fence = 0
  if KEYS[6] then
    fence = redis.call('INCR', KEYS[6])
    if fence == 1 then
      -- The counter is new or was lost. It grew by less than 1 per µs, so the time is larger than its last value.
      fence = now
      redis.call('SET', KEYS[6], string.format('%.0f', now))
    end
  end
  -- Lua's own conversion would cut the number to 14 digits. The server's conversion is slower.
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[5]), ARGV[1])
  return {1, fence, now}
end

-- The usual case: there are no holders and no waiters.
if redis.call('EXISTS', KEYS[1], KEYS[2], KEYS[4]) == 0 then
  local granted = grant()
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  return granted
end
