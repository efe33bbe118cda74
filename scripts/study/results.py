"""Results, one line of JSON each, in a file that is small enough to be committed."""

import json
import threading


def key(what):
    return json.dumps(what, sort_keys=True)


class Results:
    """What was measured, found by what was asked: equal questions have equal keys on any machine."""

    def __init__(self, path):
        self.path, self.lock, self.lines = path, threading.Lock(), {}
        if path.exists():
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                self.lines[key(entry["what"])] = entry["result"]

    def get(self, what):
        return self.lines.get(key(what))

    def add(self, what, result):
        # A line is written at once, so that a study that is killed leaves whole lines.
        line = json.dumps({"what": what, "result": result}, sort_keys=True) + "\n"
        with self.lock, open(self.path, "a") as file:
            file.write(line)
            self.lines[key(what)] = result
