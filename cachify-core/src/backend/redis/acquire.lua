-- KEYS: holders, queue, places, ended[, fence]. ARGV: token, channel, what, not after, ttl in µs, ttl in ms, max[, wait in µs]
-- Answers the fencing token, or {code, time in µs, now}.
if now > tonumber(ARGV[4]) then
  return {3, 0, now}
end

local function grant()
  local fence = 0
  if KEYS[5] then
    -- Not a number: a script's numbers are slow to write, and as text, Lua cuts them to 14 digits.
    fence = now
    local last = redis.call('SET', KEYS[5], time[1] .. string.sub('00000' .. time[2], -6), 'KEEPTTL', 'GET')
    if not last then
      redis.call('PEXPIRE', KEYS[5], 172800000)
    elseif tonumber(last) >= fence then
      fence = last + 1
      redis.call('SET', KEYS[5], fence, 'KEEPTTL')
    end
  end
  redis.call('ZADD', KEYS[1], now + ARGV[5], ARGV[1])
  return fence
end

-- The usual case: nobody holds it, nobody waits.
if redis.call('EXISTS', KEYS[1], KEYS[2], KEYS[4]) == 0 then
  local fence = grant()
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  return fence
end
