-- holders: token -> deadline. queue: token -> place. places: token -> 'until max' of those who wait, or were handed a hold and did not
-- claim it yet. ended: token -> until when a late request of it is refused. nodes: node -> until when its waiters count as alive.
local holders, queue, places, ended, nodes = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
-- A script takes a limited number of steps. If more are due, the caller runs it again.
local more, steps = false, 100

local function expire()
  local over = redis.call('ZRANGEBYSCORE', holders, '-inf', now, 'LIMIT', 0, steps)
  if over[1] then
    redis.call('ZREM', holders, unpack(over))
    redis.call('HDEL', places, unpack(over))
    more = #over == steps
  end
end

-- Keeps the holders for as long as the last of them.
local function keep()
  local last = redis.call('ZRANGE', holders, -1, -1, 'WITHSCORES')
  if last[2] then
    redis.call('PEXPIREAT', holders, math.ceil(last[2] / 1000) + 1)
  end
end

local function node_of(token)
  return string.match(token, '@(.*)$')
end

-- Whether the process of a waiter listens.
local function hears(token, channel, deadline, what)
  local heard = redis.pcall('PUBLISH', channel .. node_of(token), string.format('%.0f %s %s', deadline, token, what))
  return type(heard) == 'number' and heard > 0
end

-- Gives free places to those who wait, in order, to be claimed within a second. A waiter is skipped if it is past its time, or if its
-- process does not listen or has not asked for too long; `asking`, which accepts `room` holders, needs no message. Whether `asking` got one.
local function hand_over(channel, what, asking, room)
  local given = false
  for _ = 1, steps do
    local head = redis.call('ZRANGE', queue, 0, 0)[1]
    if not head then
      redis.call('DEL', nodes)
      if redis.call('EXISTS', holders) == 0 then
        redis.call('DEL', places)
      end
      return given
    end
    local till, max = string.match(redis.call('HGET', places, head) or '', '^(%d+) (%d+)$')
    local asks = head == asking
    local waits = till and (asks or (tonumber(till) >= now and tonumber(redis.call('HGET', nodes, node_of(head)) or 0) >= now))
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
  more = true
  return given
end
