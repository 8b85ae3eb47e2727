-- KEYS: holders, queue, places, ended[, fence]. ARGV: token, channel, what, not after, ttl in µs, ttl in ms, max[, wait in µs]
-- Answers the fencing token, or {code, time in µs, now}.
if in_vain(ARGV[4]) then
  return {3, 0, now}
end

local function grant()
  local fence = 0
  if KEYS[5] then
    -- Formatted here, since Lua by itself cuts such numbers to 14 digits, and Redis takes longer.
    fence = now
    local last = redis.call('SET', KEYS[5], string.format('%.0f', now), 'KEEPTTL', 'GET')
    if not last then
      redis.call('PEXPIRE', KEYS[5], 172800000)
    elseif tonumber(last) >= fence then
      fence = last + 1
      redis.call('SET', KEYS[5], fence, 'KEEPTTL')
    end
  end
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[5]), ARGV[1])
  return fence
end

-- The usual case: nobody holds it, nobody waits.
if redis.call('EXISTS', KEYS[1], KEYS[2], KEYS[4]) == 0 then
  local fence = grant()
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  return fence
end
