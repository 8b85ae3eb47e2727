-- KEYS: holders, queue, places, ended[, fence]. ARGV: token, channel, what, not after, ttl in µs, ttl in ms, max[, wait in µs]
-- Answers {code, fencing token or time in µs, now}, or for short the time, which is the fencing token, if it was granted.
if in_vain(ARGV[4]) then
  return {3, 0, now}
end

local function grant()
  local fence = now
  if KEYS[5] then
    -- Formatted here, since Lua by itself cuts such numbers to 14 digits, and Redis takes longer.
    local last = redis.call('SET', KEYS[5], string.format('%.0f', now), 'KEEPTTL', 'GET')
    if not last then
      redis.call('PEXPIRE', KEYS[5], 172800000)
    elseif tonumber(last) >= now then
      fence = last + 1
      redis.call('SET', KEYS[5], fence, 'KEEPTTL')
    end
  end
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[5]), ARGV[1])
  return fence == now and now or {1, fence, now}
end

-- The usual case: nobody holds it, nobody waits.
if redis.call('EXISTS', KEYS[1], KEYS[2], KEYS[4]) == 0 then
  local granted = grant()
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  return granted
end
