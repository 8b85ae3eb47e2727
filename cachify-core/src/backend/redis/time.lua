local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- Returns whether the request came too late: its time is over, or ends only after a minute, which shows that the
-- caller's estimate of this clock is wrong.
local function in_vain(not_after)
  return now > tonumber(not_after) or not_after - now > 60000000
end
