"""The plot of a soak, and the table beside it."""

WIDTH, LEFT, RIGHT, HEIGHT, GAP = 900, 70, 10, 110, 34
PANELS = [("resident memory, MiB", 1, "#2f6f9f"), ("open files", 2, "#8a4f9f"), ("whole requests a second", 3, "#3f8f5f")]
BEGIN, END = "<!-- soak: written by tests/soak/soak.py -->", "<!-- /soak -->"


def svg(watch):
    """Three panels over time; grey bands are faults."""
    span = watch.samples[-1][0]
    height = len(PANELS) * (HEIGHT + GAP) + 20

    def x(seconds):
        return LEFT + (WIDTH - LEFT - RIGHT) * min(seconds, span) / span

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, (title, field, colour) in enumerate(PANELS):
        top = GAP - 8 + number * (HEIGHT + GAP)
        most = max(sample[field] for sample in watch.samples) * 1.1 or 1
        for begin, end, name in watch.marks:
            width = max(x(end) - x(begin), 1)
            parts.append(f'<rect x="{x(begin):.1f}" y="{top}" width="{width:.1f}" height="{HEIGHT}" fill="#e8e8e8"><title>{name}</title></rect>')
        points = " ".join(f"{x(sample[0]):.1f},{top + HEIGHT * (1 - sample[field] / most):.1f}" for sample in watch.samples)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<path d="M{LEFT} {top}V{top + HEIGHT}H{WIDTH - RIGHT}" fill="none" stroke="#444"/>')
        parts.append(f'<text x="{LEFT}" y="{top - 6}" fill="#222">{title}</text>')
        for value in (0, most / 2, most):
            parts.append(f'<text x="{LEFT - 6}" y="{top + HEIGHT * (1 - value / most) + 4:.1f}" text-anchor="end" fill="#444">{value:.0f}</text>')
    minutes = span / 60
    for step in range(0, int(minutes) + 1, max(1, int(minutes) // 6)):
        parts.append(f'<text x="{x(step * 60):.1f}" y="{height - 8}" text-anchor="middle" fill="#444">{step} min</text>')
    return "\n".join([*parts, "</svg>", ""])


def write(docs, outcome, minutes):
    """Puts the plot and the table into the page."""
    folder = docs / "reliability"
    folder.mkdir(exist_ok=True)
    (folder / "soak.svg").write_text(svg(outcome.watch), encoding="utf-8")
    rows = "\n".join(f"| {name} | {value} |" for name, value in outcome.lines())
    command = f"PERIHELION_BIN=target/release/perihelion python3 tests/soak/soak.py --minutes {minutes:g} --docs docs"
    table = f"![Memory, open files and requests during the soak](reliability/soak.svg)\n\n| | |\n|---|---|\n{rows}\n\n`{command}`"
    page = docs / "reliability.md"
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")
