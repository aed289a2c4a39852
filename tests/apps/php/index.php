<?php
// A PHP page under Apache prefork that lets a proxy hold its clients: nothing but response headers and one HTTP
// POST. An Apache process is free again as soon as the script has ended.

$control = getenv('CONTROL') ?: '127.0.0.1:7070';
$position = $_SERVER['HTTP_X_COMET_POSITION'] ?? '';

switch (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)) {
    case '/':
        // The page knows the moment at which it was made, so that its script misses nothing after it.
        $proxy = htmlspecialchars($_SERVER['HTTP_X_COMET_PROXY'] ?? 'no proxy');
        header('Content-Type: text/html; charset=utf-8');
        echo "<!doctype html><title>php</title><p>php behind $proxy</p><ul id=list></ul>",
            "<script>const events = new EventSource('/events?lastEventId=$position');",
            "events.onmessage = event => list.append(event.data, document.createElement('br'));</script>\n";
        break;

    case '/events':
        // Answers at once; the proxy goes on with this response and Apache's process takes the next request.
        header('Content-Type: text/event-stream');
        header('Cache-Control: no-store');
        header('X-Comet-Subscribe: news');
        header('X-Comet-Transport: sse');
        header('X-Comet-Retry: 1000');
        echo "event: hello\ndata: php\n\n";
        break;

    case '/poll':
        // The answer if nothing happens in time, in the form of the answer when something does.
        header('Content-Type: application/json');
        header('Cache-Control: no-store');
        header('X-Comet-Subscribe: news');
        header('X-Comet-Transport: long-poll');
        header('X-Comet-Timeout: ' . (int) ($_GET['timeout'] ?? 25));
        echo json_encode(['position' => $position, 'gap' => false, 'messages' => []]);
        break;

    case '/say':
        // Publishes what it was sent.
        $publish = ['method' => 'POST', 'header' => 'Content-Type: text/plain', 'timeout' => 5,
            'content' => file_get_contents('php://input')];
        header('Content-Type: application/json');
        echo file_get_contents("http://$control/channels/news", false, stream_context_create(['http' => $publish]));
        break;

    case '/film':
        // The proxy sends the file, and Apache's process is free.
        header('Content-Type: application/octet-stream');
        header('X-Film: of the application');
        header('X-Sendfile: ' . (getenv('FILES') ?: '/var/www') . '/film.bin');
        break;

    case '/slow':
        // Keeps one of Apache's processes busy.
        sleep(1);
        header('Content-Type: text/plain');
        echo "slow\n";
        break;

    case '/big':
        header('Content-Type: application/octet-stream');
        for ($megabytes = (int) ($_GET['megabytes'] ?? 1); $megabytes > 0; $megabytes--) {
            echo str_repeat("0123456789abcde\n", 65536);
        }
        break;

    case '/elsewhere':
        // The proxy fetches it, by Perlbal's name for a file.
        header('X-Film: of the application');
        header('X-Reproxy-File: ' . (getenv('FILES') ?: '/var/www') . '/big.bin');
        break;

    case '/up':
        header('Content-Type: text/plain');
        echo "up\n";
        break;

    case '/moody':
        // Every second request fails; a proxy that asks again gets a better answer.
        $mood = (getenv('STATE') ?: sys_get_temp_dir()) . '/bad';
        $bad = !@unlink($mood) && touch($mood);
        http_response_code($bad ? 500 : 200);
        header('Content-Type: text/plain');
        echo $bad ? "bad\n" : "better\n";
        break;

    case '/upload':
        header('Content-Type: text/plain');
        echo hash_file('sha256', 'php://input'), "\n";
        break;

    default:
        http_response_code(404);
        header('Content-Type: text/plain');
        echo "not found\n";
}
