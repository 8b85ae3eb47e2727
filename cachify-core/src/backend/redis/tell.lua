-- Tells the nodes that wait for the lease that it ended. They look again by themselves if that fails.
local function tell(lease, channel, message)
  for _, field in ipairs(lease) do
    if string.sub(field, 1, 2) == 'w:' then
      redis.pcall('PUBLISH', channel .. string.sub(field, 3), message)
    end
  end
end

-- The fields of the lease; none if some other program keeps something under its name.
local function fields(key)
  local found = redis.pcall('HKEYS', key)
  return found.err and {} or found
end
