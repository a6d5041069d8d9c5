"""A synchronous view that streams: plain WSGI here, and the same generator in Flask or Django.

A Flask view would ``return Response(words(prompt), mimetype="text/plain")``, a Django view
``return StreamingHttpResponse(words(prompt))``. The node runs its loop in a thread of its own, and
every view follows its stream from the thread it is in.
"""

import http.client
import threading
import urllib.parse
from wsgiref.simple_server import make_server

import puckstream as puck

node = puck.Node()
client = puck.Client("scripted:story", system_prompt="Be brief.")


def words(prompt):
    """Yield the answer piece by piece; stop the model if the browser goes away."""
    stream = node.start_stream(client, prompt, timeout=puck.Timeout(first=30, total=600)).get()
    try:
        # Several deltas at a time, so that a fast model does not cost a write each.
        for piece in stream.subscribe().coalesce(0.05).text():
            yield piece.encode()
    except puck.StreamError as error:
        yield f"\n[{error}]".encode()
    finally:
        print("stream", stream.cancel().get())  # already_done, if nobody went away


def view(environ, start_response):
    """Answer ``GET /?prompt=…``."""
    query = urllib.parse.parse_qs(environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return words(query.get("prompt", ["Hello."])[0])


def browse(port):
    """Ask as a browser does, and read the answer to its end."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/?" + urllib.parse.urlencode({"prompt": "Why is the sky blue?"}))
    answer = connection.getresponse().read().decode()
    connection.close()
    print(len(answer.split()), "words, in whole sentences:", answer.strip().endswith("."))


with node, make_server("127.0.0.1", 0, view) as server:
    browser = threading.Thread(target=browse, args=(server.server_port,))
    browser.start()
    server.handle_request()
    browser.join()

    # What a server does when the browser leaves early: it closes the generator.
    answer = words("Tell me more.")
    print("first piece:", len(next(answer)) > 0)
    answer.close()
