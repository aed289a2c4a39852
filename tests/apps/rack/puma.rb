# One process with one thread: whatever keeps it busy is seen at once.
bind "tcp://#{ENV.fetch("APP", "127.0.0.1:8000")}"
threads 1, 1
workers 0
environment "production"
rackup File.expand_path("config.ru", __dir__)
quiet
