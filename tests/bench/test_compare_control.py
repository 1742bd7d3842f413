#!/usr/bin/env python3
"""What compare_control.py makes of the numbers: which row of skiff is meant, ratios, and if they are those asked for."""
import os, sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "python")]
sys.dont_write_bytecode = True
from compare_control import ROWS, line_of, rest, table
from tap import run_all, test

ROW = {row.label: row for row in ROWS}


def found(name, value=1.0, unit="updates/s", settings=""):
    return dict(row=name, value=value, unit=unit, settings=settings, limit=None)


def ours(*rows):
    return {row["row"]: [row] for row in rows}


@test
def rows_are_found_by_the_beginning_of_their_names():
    sac, slow = ROW["3 SAC"], ROW["3c SAC Pendulum"]
    assert sac.is_of(found("3 SAC")) and sac.is_of(found("3 SAC HalfCheetah-v5"))
    assert slow.is_of(found("3c SAC Pendulum"))
    assert not sac.is_of(found("3c SAC Pendulum")) and not slow.is_of(found("3 SAC")) and not sac.is_of(found("3 SACX"))
    assert not sac.is_of(found("3 SAC GFLOP/s", unit="GFLOP/s"))


@test
def the_row_with_the_shortest_name_counts():
    line = line_of(ROW["3 SAC"], {"sbx": [100.0]}, ours(found("3 SAC one core", 90.0), found("3 SAC", 160.0)))
    assert line["skiff"] == 160.0, line


@test
def rows_of_stepping_are_told_apart_by_their_threads():
    one, two = ROW["4 Ant-v5, 1 thread"], ROW["4 Ant-v5, 2 threads"]
    for name, settings in (("4 Ant-v5, 2 threads", ""), ("4 Ant-v5 two cores", "64 envs, 2 threads")):
        assert two.is_of(found(name, settings=settings)) and not one.is_of(found(name, settings=settings))
    assert one.is_of(found("4 Ant-v5")) and not two.is_of(found("4 Ant-v5"))


@test
def what_was_asked_is_judged_by_the_ratio():
    line = line_of(ROW["3 SAC"], {"sbx": [100.0, 90.0, 800.0], "sb3": [50.0]}, ours(found("3 SAC", 160.0)))
    assert line["ratios"] == {"sbx": 1.6, "sb3": 3.2} and line["asked"] == [("1.6x sbx", True)], line
    line = line_of(ROW["3 SAC"], {"sbx": [100.0]}, ours(found("3 SAC", 159.0)))
    assert line["asked"] == [("1.6x sbx", False)] and "1.6x sbx (**not met**)" in table([line])[2]


@test
def what_did_not_run_is_missing_and_not_judged():
    line = line_of(ROW["3 DQN"], {"sbx": [100.0], "sb3": []}, {})
    assert line["skiff"] is None and line["unit"] == "missing" and line["asked"] == [("4x sb3", None)]
    assert "| 3 DQN | - missing | sbx 100 | - | 4x sb3 (not compared) |" in table([line])[2], table([line])
    assert table([line])[-1] == "0 of 0 met; 1 rows of skiff missing."
    line = line_of(ROW["3 DQN"], {"sbx": [100.0], "sb3": []}, ours(found("3 DQN", 500.0)))
    assert line["asked"] == [("4x sb3", None)] and line["ratios"] == {"sbx": 5.0}


@test
def seconds_are_better_when_they_are_fewer():
    row, values = ROW["3c SAC Pendulum"], {"rltools": [2.0]}
    assert line_of(row, values, ours(found(row.name, 1.0, "s")))["ratios"] == {"rltools": 2.0}
    assert line_of(row, values, ours(found(row.name, 10_000.0, "env steps/s")))["ratios"] == {"rltools": 2.0}
    assert line_of(row, values, ours(found(row.name, 9_900.0, "updates/s")))["ratios"] == {"rltools": 2.0}


@test
def an_earlier_measurement_is_shown_but_not_judged():
    row = ROW["3c SAC Pendulum"]
    line = line_of(row, {"rltools": []}, ours(found(row.name, 1.15, "s")))
    assert line["ratios"] == {"rltools": 2.0} and line["asked"] == [("1x rltools", None)], line
    assert "was not run here" in line["settings"]


@test
def rows_without_a_peer_are_listed():
    said = rest(ours(found("3 SAC"), found("replay uniform", 5000.0, "rows/s")))
    assert said == ["- replay uniform: 5,000 rows/s"], said


run_all()
