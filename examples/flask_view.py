"""A synchronous Flask view that streams, and stops the model when the browser goes away.

The node runs its loop in a thread of its own, and every view follows its stream from the thread it
is in. A Django view is the same: ``return StreamingHttpResponse(words(prompt))``.
"""

import http.client
import threading
import urllib.parse

from flask import Flask, Response, request
from werkzeug.serving import make_server

import puckstream as puck

app = Flask(__name__)
node = puck.Node()
client = puck.Client("scripted:story", system_prompt="Be brief.")
over = threading.Semaphore(0)


@app.get("/answer")
def answer():
    """Answer ``GET /answer?prompt=…`` with text that comes as the model writes it."""
    return Response(words(request.args.get("prompt", "Hello.")), mimetype="text/plain")


def words(prompt):
    """Yield the answer piece by piece; stop the model if the browser goes away."""
    stream = node.start_stream(client, prompt, timeout=puck.Timeout(first=30, total=600)).get()
    try:
        # Several deltas at a time, so that a fast model does not cost a write each.
        yield from stream.subscribe().coalesce(0.05).text()
    except puck.StreamError as error:
        yield f"\n[{error}]"
    finally:
        print("stream", stream.cancel().get())  # already_done, if nobody went away
        over.release()


def browse(port, pieces=None):
    """Ask as a browser does, and read the answer to its end or for some ``pieces``."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/answer?" + urllib.parse.urlencode({"prompt": "Why is it blue?"}))
    response = connection.getresponse()
    if pieces is None:
        text = response.read().decode()
        print(len(text.split()), "words, in whole sentences:", text.strip().endswith("."))
    else:
        text = b"".join(response.read1() for _ in range(pieces))
        print("left after some words:", 0 < len(text.split()) < 100)
        response.close()
    connection.close()
    over.acquire()


with node:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    browse(server.port)
    browse(server.port, pieces=3)
    server.shutdown()
    thread.join()
    server.server_close()
