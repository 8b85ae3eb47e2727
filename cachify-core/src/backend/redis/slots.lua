-- holders: token -> deadline. queue: token -> place. places: token -> 'until max' of those who wait, or were handed a hold and did not
-- claim it yet. ended: token -> until when a late request of it is refused.
local holders, queue, places, ended = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local function expire()
  for _, token in ipairs(redis.call('ZRANGEBYSCORE', holders, '-inf', now)) do
    redis.call('ZREM', holders, token)
    redis.call('HDEL', places, token)
  end
end

-- Keeps the holders for as long as the last of them.
local function keep()
  local last = redis.call('ZRANGE', holders, -1, -1, 'WITHSCORES')
  if last[2] then
    redis.call('PEXPIREAT', holders, math.ceil(last[2] / 1000) + 1)
  end
end

-- Whether the process of a waiter listens.
local function hears(token, channel, deadline, what)
  local heard = redis.pcall('PUBLISH', channel .. string.match(token, '@(.*)$'), string.format('%.0f %s %s', deadline, token, what))
  return type(heard) == 'number' and heard > 0
end

-- Gives free places to those who wait, in order, to be claimed within a second. Who does not listen any more, or is past its time, is
-- skipped; `asking`, who accepts `room` holders, is there although it does not need to be told. Whether `asking` got one.
local function hand_over(channel, what, asking, room)
  local given = false
  while true do
    local head = redis.call('ZRANGE', queue, 0, 0)[1]
    if not head then
      if redis.call('EXISTS', holders) == 0 then
        redis.call('DEL', places)
      end
      return given
    end
    local till, max = string.match(redis.call('HGET', places, head) or '', '^(%d+) (%d+)$')
    local asks = head == asking
    local waits = till and (asks or tonumber(till) >= now)
    local held = redis.call('ZCARD', holders)
    if waits and held >= tonumber(max) then
      -- Where `asking` would have room, who is in its way must be alive: a word of no hold makes its process say if it is not.
      if asks or not room or held >= room or hears(head, channel, 0, what) then
        return given
      end
      waits = false
    end
    redis.call('ZREM', queue, head)
    local deadline = now + 1000000
    if waits and (asks or hears(head, channel, deadline, what)) then
      redis.call('ZADD', holders, deadline, head)
      keep()
      given = given or asks
    else
      redis.call('HDEL', places, head)
    end
  end
end
