local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- Whether nobody waits for the answer any more: or whether the caller's idea of this clock is wrong, when it would wait for a minute.
local function in_vain(not_after)
  return now > tonumber(not_after) or not_after - now > 60000000
end
