# SPDX-License-Identifier: GPL-3.0-or-later
"""Serves the files of a directory, and below /smart/ its repositories in git's own protocol.

usage: python3 git_server.py DIRECTORY PORT-FILE
"""

import http.server
import os
import subprocess
import sys

directory, port_file = sys.argv[1:]


class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *arguments):
        super().__init__(*arguments, directory=directory)

    def do_GET(self):
        self.smart() if self.path.startswith("/smart/") else super().do_GET()

    def do_POST(self):
        self.smart()

    def smart(self):
        path, _, query = self.path.removeprefix("/smart").partition("?")
        variables = {
            "GIT_PROJECT_ROOT": directory,
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = subprocess.run(["git", "http-backend"], input=body, capture_output=True, env=os.environ | variables)
        head, _, body = answer.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(port_file + ".new", "w") as file:
    file.write(str(server.server_port))
os.rename(port_file + ".new", port_file)
server.serve_forever()
