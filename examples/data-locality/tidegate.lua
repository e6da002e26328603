-- Data locality: requests go to the instance that has the data set they ask for.
-- Build the service first:  cc -O2 -static -pthread -o ../quickstart/service ../quickstart/*.c
-- Then, in this folder:     tidegate run

cluster { id = "locality", engine = "process", sample_interval = "1s" }

-- Which data sets an instance has loaded, by its place: 1, 2, 3.
local DATA = { { "orders", "customers" }, { "clicks" }, { "clicks", "returns" } }

service "data" {
  command      = { "../quickstart/service", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "1s", timeout = "1s", retries = 2, start_period = "5s" },
  scale        = { instances = 3 },

  -- "dataset:orders" says that the data set is there; any other word is a tag for X-Data-Affinity.
  tags = function(i)
    local tags = {}
    for n, name in ipairs(DATA[i.index] or {}) do
      tags[n] = "dataset:" .. name
    end
    return tags
  end,

  -- A request says what it is about by X-Dataset-Id, or by its path: /data/orders.
  route = {
    listen = "127.0.0.1:8080", balance = "data_locality_aware",
    request = function(r)
      return { dataset_id = r.header "X-Dataset-Id" or r.path:match "^/data/(%w+)" }
    end,
  },
}
