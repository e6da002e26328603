-- Containers that compose starts, balanced by their labels (compose.yaml). Nothing of them stands here.
-- Then, in this folder:  tidegate run          and in another terminal:  docker compose up -d
-- tidegate labels  shows what became of them.
cluster {
  id = "edge",
  labels = {
    listen = { "127.0.0.1:8080" },   -- routes of labels listen here
    hosts = { "*.shop.example" },    -- and may take no other hosts
    network = "labels_front",        -- where containers on several networks are reached
  },
}
