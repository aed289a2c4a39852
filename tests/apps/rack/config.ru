# A Rack application that lets a proxy hold its clients: nothing but response headers and one HTTP POST.
# It runs under Puma with a single thread, which is free again as soon as it has answered.

require "digest"
require "json"
require "net/http"

# A file that Rack::Sendfile has the proxy send.
class Film
  def to_path = File.join(ENV.fetch("FILES", "/var/www"), "film.bin")

  def each(&) = File.open(to_path, "rb") { |file| file.each(65_536, &) }
end

class Application
  APP = ENV.fetch("APP", "127.0.0.1:8000")
  CONTROL = URI("http://#{ENV.fetch("CONTROL", "127.0.0.1:7070")}/channels/news")

  def call(env)
    request = Rack::Request.new(env)
    case request.path_info
    when "/" then page(env)
    when "/events" then events
    when "/poll" then poll(env, request.params["timeout"] || "25")
    when "/say" then say(request.body.read)
    when "/slow" then slow
    when "/film" then [200, { "x-film" => "of the application" }, Film.new]
    when "/big" then big(Integer(request.params["megabytes"] || "1"))
    when "/elsewhere" then elsewhere
    when "/up" then text("up")
    when "/moody" then moody
    when "/upload" then text(Digest::SHA256.hexdigest(request.body.read))
    else [404, { "content-type" => "text/plain" }, ["not found\n"]]
    end
  end

  private

  # The page knows the moment at which it was made, so that its script misses nothing after it.
  def page(env)
    proxy = env.fetch("HTTP_X_COMET_PROXY", "no proxy")
    position = env["HTTP_X_COMET_POSITION"]
    html = "<!doctype html><title>rack</title><p>rack behind #{proxy}</p><ul id=list></ul>" \
           "<script>const events = new EventSource('/events?lastEventId=#{position}');" \
           "events.onmessage = event => list.append(event.data, document.createElement('br'));</script>\n"
    [200, { "content-type" => "text/html; charset=utf-8" }, [html]]
  end

  # Answers at once; the proxy goes on with this response and the thread takes the next request.
  def events
    headers = {
      "content-type" => "text/event-stream",
      "cache-control" => "no-store",
      "x-comet-subscribe" => "news",
      "x-comet-transport" => "sse",
      "x-comet-retry" => "1000"
    }
    [200, headers, ["event: hello\ndata: rack\n\n"]]
  end

  # The answer if nothing happens in time, in the form of the answer when something does.
  def poll(env, timeout)
    headers = {
      "content-type" => "application/json",
      "cache-control" => "no-store",
      "x-comet-subscribe" => "news",
      "x-comet-transport" => "long-poll",
      "x-comet-timeout" => timeout
    }
    [200, headers, [{ position: env["HTTP_X_COMET_POSITION"], gap: false, messages: [] }.to_json]]
  end

  # Publishes what it was sent.
  def say(message)
    answer = Net::HTTP.post(CONTROL, message, "Content-Type" => "text/plain")
    [answer.code.to_i, { "content-type" => "application/json" }, [answer.body]]
  end

  # So many megabytes.
  def big(megabytes)
    [200, { "content-type" => "application/octet-stream" }, ["0123456789abcde\n" * 65_536] * megabytes]
  end

  # The proxy fetches it, from the first of these that has it.
  def elsewhere
    urls = "http://127.0.0.1:9/ http://#{APP}/big"
    [200, { "x-film" => "of the application", "x-reproxy-url" => urls }, []]
  end

  # Every second request fails; a proxy that asks again gets a better answer.
  def moody
    @bad = !@bad
    @bad ? [500, { "content-type" => "text/plain" }, ["bad\n"]] : text("better")
  end

  # Keeps the only thread busy.
  def slow
    sleep 1
    text("slow")
  end

  def text(line)
    [200, { "content-type" => "text/plain" }, ["#{line}\n"]]
  end
end

use Rack::Sendfile, "X-Sendfile"
run Application.new
