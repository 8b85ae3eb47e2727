-- Tells the nodes that wait for the lease that it ended. If that fails, they check again by themselves.
local function tell(lease, channel, message)
  for _, field in ipairs(lease) do
    if string.sub(field, 1, 2) == 'w:' then
      redis.pcall('PUBLISH', channel .. string.sub(field, 3), message)
    end
  end
end

-- Tells the processes with copies in memory that their copies of a key are void. Returns false if it is not permitted.
local function void(channel, key)
  return type(redis.pcall('PUBLISH', channel, key)) == 'number'
end

-- Returns the fields of the lease; none if another program uses its name.
local function fields(key)
  local found = redis.pcall('HKEYS', key)
  return found.err and {} or found
end
