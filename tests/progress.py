"""Progress as tests show it: to nobody, until somebody presses Ctrl-C."""

from hfvaccine.training.progress import Bar, Progress


class Stopping(Progress):
    """Presses Ctrl-C when the bar of this description has counted so far."""

    def __init__(self, description, count=0):
        self.description, self.count = description, count

    def bar(self, description, total):
        return _Counting(self.count) if description == self.description else Bar()


class _Counting(Bar):
    def __init__(self, stop_at):
        self.count, self.stop_at = 0, stop_at

    def update(self, steps):
        self.count += steps
        if self.count >= self.stop_at:
            raise KeyboardInterrupt
