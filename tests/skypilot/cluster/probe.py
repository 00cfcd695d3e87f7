"""Answers every HEAD with 200: python probe.py CERTIFICATE."""

import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answer(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
server = ThreadingHTTPServer(("8.8.8.8", 443), Answer)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
