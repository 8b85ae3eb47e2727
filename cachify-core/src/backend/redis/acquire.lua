-- KEYS: holders, queue, places, ended, nodes[, fence]. ARGV: token, channel, what, not after, ttl in µs, ttl in ms, max[, wait in µs,
-- how long the waiters of the process count as alive in µs]
-- Answers {code, fencing token or time in µs, now[, place]}.
if in_vain(ARGV[4]) then
  return {3, 0, now}
end

local function grant()
  local fence = 0
  if KEYS[6] then
    fence = redis.call('INCR', KEYS[6])
    if fence == 1 then
      -- The counter is new or got lost. It grew by less than one each microsecond, so the clock is ahead of where it was.
      fence = now
      redis.call('SET', KEYS[6], string.format('%.0f', now))
    end
  end
  -- Formatted here, which is faster; by itself, Lua cuts such numbers to 14 digits.
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[5]), ARGV[1])
  return {1, fence, now}
end

-- The usual case: nobody holds it, nobody waits.
if redis.call('EXISTS', KEYS[1], KEYS[2], KEYS[4]) == 0 then
  local granted = grant()
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  return granted
end
