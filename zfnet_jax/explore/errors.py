"""What is wrong with a request: one line for whoever made it."""

from __future__ import annotations


class RequestError(ValueError):
    """A request that cannot be answered; `status` is HTTP's word for why."""

    status = 400


class NotThereError(RequestError):
    """What is asked for is not there, or not any more."""

    status = 404


class SlowError(RequestError):
    """What is sent takes too long to come."""

    status = 408


class TooLargeError(RequestError):
    """More bytes or pixels than are taken."""

    status = 413


class NoPhotoError(RequestError):
    """The bytes are no photo."""

    status = 415


class BusyError(RequestError):
    """Too many wait already."""

    status = 503
