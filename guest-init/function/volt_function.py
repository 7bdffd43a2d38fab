# SPDX-License-Identifier: Apache-2.0
"""libvolt_function for Python, by ctypes: a doorbell function in a few lines (volt_function.h says what
one must know). Run as a program it is an example: it answers with what it was asked, in capitals.

    cc -O2 -shared -fPIC volt_function.c -o libvolt_function.so

    import volt_function

    @volt_function.serve
    def answer(request: bytes) -> bytes:
        return request.upper()

What the handler raises is the call's error. The library is looked for beside this file, then where the
loader looks; $VOLT_FUNCTION_LIBRARY names another.
"""
import ctypes
import os
import time

BYTES_MAX = 65536


def _load():
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), "libvolt_function.so")
    named = os.environ.get("VOLT_FUNCTION_LIBRARY")
    library = ctypes.CDLL(named or (beside if os.path.exists(beside) else "libvolt_function.so"))
    library.volt_function_next.restype = ctypes.c_long
    library.volt_function_next.argtypes = [ctypes.POINTER(ctypes.c_void_p)]
    for name in ("volt_function_answer", "volt_function_fail"):
        getattr(library, name).argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    library.volt_function_time_ns.restype = ctypes.c_uint64
    return library


def serve(handler):
    """Answers calls with handler(bytes) -> bytes, without end."""
    library = _load()
    request = ctypes.c_void_p()
    while True:
        count = library.volt_function_next(ctypes.byref(request))
        if count < 0:
            raise OSError(-count, os.strerror(-count))
        try:
            answer = handler(ctypes.string_at(request, count))
            if library.volt_function_answer(answer, len(answer)) < 0:
                raise ValueError(f"the answer has {len(answer)} bytes: at most {BYTES_MAX}")
        except Exception as error:  # the caller's to hear of, whatever it is
            text = f"{type(error).__name__}: {error}".encode()[:BYTES_MAX]
            library.volt_function_fail(text, len(text))


if __name__ == "__main__":
    time.time()  # what a program loads before its first call is loaded once, for all VMs
    serve(bytes.upper)
