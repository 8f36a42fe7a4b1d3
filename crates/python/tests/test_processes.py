"""Signals, threads and other processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import faithful_xai as fx

SLOW = """
import threading, time
import numpy as np
import faithful_xai as fx
net = fx.load()
x = np.random.default_rng(0).normal(size=(1, *net.input_shape)).astype(np.float32)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_within_a_second():
    text = SLOW + textwrap.dedent("""
        import signal
        # A shell's background job ignores it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print("ready", flush=True)
        try:
            net.explain(x, draws=1_000_000)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            print(net.predict(x).outputs.shape, flush=True)
    """)
    process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(1)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "interrupted\n"
    # Within a second on a machine that has nothing else to do; without it, these draws take hours.
    assert time.monotonic() - began < 10
    # The network is usable afterwards.
    assert process.stdout.readline().startswith("(1, ")
    assert process.wait(timeout=30) == 0


def test_other_threads_run_meanwhile(net):
    x = np.random.default_rng(0).normal(size=(1, *net.input_shape)).astype(np.float32)
    counted, done = 0, threading.Event()

    def work():
        net.explain(x, draws=200)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not done.is_set():
        counted += 1
        time.sleep(0.001)
    thread.join()
    assert counted > 3


def test_calls_of_several_threads_take_turns(net):
    x = np.random.default_rng(0).normal(size=(4, *net.input_shape)).astype(np.float32)
    expected = net.explain(x, 0, method="grad-cam").maps
    found = [None] * 4

    def work(place):
        found[place] = net.explain(x, 0, method="grad-cam").maps

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in found:
        np.testing.assert_array_equal(one, expected)


def _predict(x):
    return fx.load("scenes-vgg").predict(x).outputs


@pytest.mark.parametrize("method", [one for one in ("fork", "spawn") if one in multiprocessing.get_all_start_methods()])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_worker_processes(net, inputs, method):
    expected = net.predict(inputs).outputs
    with multiprocessing.get_context(method).Pool(2) as pool:
        for found in pool.map(_predict, [inputs] * 2):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_in_the_middle_is_an_exception():
    text = SLOW + textwrap.dedent("""
        import os, sys, warnings
        warnings.simplefilter("ignore")
        net.predict(x)
        thread = threading.Thread(target=lambda: net.explain(x, draws=2000), daemon=True)
        thread.start()
        time.sleep(0.3)
        child = os.fork()
        if child == 0:
            try:
                net.predict(x)
            except fx.errors.ForkedError as error:
                os._exit(7 if "spawn" in str(error) else 8)
            os._exit(9)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """)
    assert subprocess.run([sys.executable, "-c", text], timeout=120).returncode == 7


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_network_works_in_a_fork_of_an_idle_process(net, inputs):
    expected = net.predict(inputs).outputs
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        same = np.array_equal(net.predict(inputs).outputs, expected)
        os.write(writer, b"y" if same else b"n")
        os._exit(0)
    os.close(writer)
    assert os.read(reader, 1) == b"y"
    os.waitpid(child, 0)
