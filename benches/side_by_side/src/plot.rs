//! Horizontal bars as SVG, readable on light and dark ground.

use std::fmt::Write;

/// One bar.
pub(crate) struct Bar {
    /// Whom it belongs to.
    pub(crate) label: String,
    /// How long it is.
    pub(crate) value: f64,
    /// Least and most of the rounds, drawn as a thin line.
    pub(crate) range: (f64, f64),
    /// Drawn in the colour that stands out.
    pub(crate) ours: bool,
}

const WIDTH: f64 = 720.0;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 90.0;
const TOP: f64 = 56.0;
const ROW: f64 = 34.0;
const BAR: f64 = 20.0;

const STYLE: &str = "\
text{font:14px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#1f2328}\
.title{font-weight:600;font-size:15px}.unit{fill:#59636e;font-size:13px}.value{font-variant-numeric:tabular-nums}\
.peer{fill:#8c959f}.ours{fill:#0969da}.range{stroke:#1f2328;stroke-width:1.5}.axis{stroke:#d1d9e0}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.unit{fill:#9198a1}.peer{fill:#656c76}.ours{fill:#4493f8}\
.range{stroke:#f0f6fc}.axis{stroke:#3d444d}}";

/// Draws the bars from zero; `unit` says what they count.
pub(crate) fn bars(title: &str, unit: &str, bars: &[Bar]) -> String {
    let height = TOP + ROW * bars.len() as f64 + 12.0;
    let longest = bars.iter().map(|bar| bar.range.1.max(bar.value)).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / longest;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
         <title>{0}</title>\n<style>{STYLE}</style>\n\
         <text class=\"title\" x=\"12\" y=\"22\">{0}</text>\n<text class=\"unit\" x=\"12\" y=\"42\">{1}</text>\n",
        escape(title),
        escape(unit)
    );
    for (row, bar) in bars.iter().enumerate() {
        row_of(&mut svg, TOP + ROW * row as f64, scale, bar);
    }
    let bottom = height - 12.0;
    push(
        &mut svg,
        format_args!(
            "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{TOP}\" x2=\"{LEFT}\" y2=\"{bottom}\"/>\n</svg>\n"
        ),
    );
    svg
}

fn row_of(svg: &mut String, top: f64, scale: f64, bar: &Bar) {
    let (class, width) = (if bar.ours { "ours" } else { "peer" }, (bar.value * scale).max(1.0));
    let (middle, text) = (top + BAR / 2.0, top + BAR / 2.0 + 5.0);
    let (from, to) = (LEFT + bar.range.0.max(0.0) * scale, LEFT + bar.range.1 * scale);
    let end = (LEFT + width).max(to) + 8.0;
    let (label, value) = (escape(&bar.label), significant(bar.value));
    let label_end = LEFT - 10.0;
    push(svg, format_args!("<text x=\"{label_end}\" y=\"{text}\" text-anchor=\"end\">{label}</text>\n"));
    push(
        svg,
        format_args!(
            "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{top}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\"/>\n"
        ),
    );
    if to - from > 2.0 {
        push(
            svg,
            format_args!(
                "<line class=\"range\" x1=\"{from:.1}\" y1=\"{middle}\" x2=\"{to:.1}\" y2=\"{middle}\"/>\n"
            ),
        );
    }
    push(svg, format_args!("<text class=\"value\" x=\"{end:.1}\" y=\"{text}\">{value}</text>\n"));
}

/// A number with about three digits that mean something.
pub(crate) fn significant(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn push(svg: &mut String, piece: std::fmt::Arguments<'_>) {
    svg.write_fmt(piece).expect("writing to a string does not fail");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
