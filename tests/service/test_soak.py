"""`script/soak`, briefly: its requests succeed or fail as they should, and it counts what is there."""

from checks import soak


def test_a_short_soak_and_the_overhead(server, capsys, monkeypatch):
    monkeypatch.setattr(soak, "INTERVAL", 4)
    monkeypatch.setattr(
        soak, "OVERHEAD_REQUEST", soak.OVERHEAD_REQUEST | {"max_mel_tokens": 50, "diffusion_steps": 4}
    )
    soak.soak(server, 12, share=0.5)
    told = capsys.readouterr().out
    rows = [
        line.split()
        for line in told.splitlines()
        if line.strip() and line.split()[0] in ("4", "8", "12") and "requests" not in line
    ]
    assert len(rows) == 3 and all(float(row[1]) > 100 and int(row[3]) > 3 for row in rows)
    assert "wrong" not in told and "growth after the first 4: " in told, told
    soak.overhead(server, 1)
    told = capsys.readouterr().out
    assert told.startswith("adapter 0.0000") and " s of audio: model " in told, told
