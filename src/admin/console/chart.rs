//! Charts, drawn as SVG: axes with round numbers, values where the pointer is. No script, and no
//! style beside that of the pages.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 24.0;

/// One curve or row of bars.
pub struct Series<'a> {
    pub name: &'a str,
    /// A class of the style sheet: the colour.
    pub class: &'static str,
    pub values: Vec<Option<f64>>,
    /// What stands beside each value where the pointer is.
    pub notes: Vec<String>,
    pub is_bars: bool,
}

/// A chart over spans of time.
pub struct Chart<'a> {
    /// What it shows, for those who do not see it.
    pub label: String,
    pub series: Vec<Series<'a>>,
    /// A name for each span.
    pub names: Vec<String>,
    /// How many spans a name stands under.
    pub every: usize,
    pub scale: Scale,
}

/// The numbers of the vertical axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// From zero.
    Count,
    /// Up to a hundred; the lower part is left out where nothing is in it.
    Percent,
}

impl Scale {
    /// The marks of the axis: first, distance, last.
    fn marks(self, values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
        match self {
            Self::Count => {
                let step = round_step(values.fold(1.0, f64::max) / 4.0).max(1.0);
                let most = 4.0_f64;
                (0.0, step, step * most)
            }
            Self::Percent => {
                let least = values.fold(100.0, f64::min);
                let floors = [(95.0, 1.0), (90.0, 2.0), (75.0, 5.0), (50.0, 10.0)];
                let floor = floors.into_iter().find(|(floor, _)| least >= *floor);
                let (floor, step) = floor.unwrap_or((0.0, 25.0));
                (floor, step, 100.0)
            }
        }
    }

    fn mark(self, value: f64) -> String {
        match self {
            Self::Percent => format!("{value:.0} %"),
            Self::Count if value >= 1e6 => format!("{} M", value / 1e6),
            Self::Count if value >= 1e3 => format!("{} k", value / 1e3),
            Self::Count => format!("{value:.0}"),
        }
    }
}

/// The next larger of 1, 2, 2.5, 5 and their tens, so that numbers on an axis are round.
fn round_step(least: f64) -> f64 {
    let ten = 10_f64.powf(least.max(f64::MIN_POSITIVE).log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|step| step * ten >= least);
    step.unwrap_or(10.0) * ten
}

impl Chart<'_> {
    /// The chart as SVG.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "there are hundreds of spans, not more")]
    pub fn svg(&self) -> String {
        let values = self.series.iter().flat_map(|series| series.values.iter().flatten().copied());
        let (first, step, last) = self.scale.marks(values);
        let y = |value: f64| {
            let share = (value - first) / (last - first);
            HEIGHT - BOTTOM - share.clamp(0.0, 1.0) * (HEIGHT - BOTTOM - TOP)
        };
        let width = (WIDTH - LEFT - RIGHT) / self.names.len().max(1) as f64;
        let x = |at: usize| LEFT + (at as f64 + 0.5) * width;
        let mut svg = String::new();
        // Writing to a String cannot fail.
        let _ = write!(
            svg,
            r#"<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{}">"#,
            escaped(&self.label)
        );
        let marks = std::iter::successors(Some(first), |mark| Some(mark + step));
        for mark in marks.take_while(|mark| *mark <= last + step / 2.0) {
            let (at, text) = (y(mark), self.scale.mark(mark));
            let _ = write!(
                svg,
                r#"<line class="grid" x1="{LEFT}" x2="{:.1}" y1="{at:.1}" y2="{at:.1}"/><text class="mark" x="{:.1}" y="{:.1}" text-anchor="end">{text}</text>"#,
                WIDTH - RIGHT,
                LEFT - 6.0,
                at + 4.0,
            );
        }
        for (at, name) in self.names.iter().enumerate().filter(|(at, _)| at % self.every == 0) {
            let _ = write!(
                svg,
                r#"<text class="mark" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                x(at),
                HEIGHT - 6.0,
                escaped(name)
            );
        }
        for series in &self.series {
            if series.is_bars {
                series.draw_bars(&mut svg, x, y, width * 0.7);
            } else {
                series.draw_line(&mut svg, x, y);
            }
        }
        for at in 0..self.names.len() {
            self.draw_values(&mut svg, at, (x(at), width), y);
        }
        svg.push_str("</svg>");
        svg
    }

    /// What shows while the pointer is in a span: a line, a dot for each value, the values as text.
    fn draw_values(
        &self,
        svg: &mut String,
        at: usize,
        (x, width): (f64, f64),
        y: impl Fn(f64) -> f64,
    ) {
        let (top, bottom) = (TOP, HEIGHT - BOTTOM);
        let _ = write!(
            svg,
            r#"<g class="at"><rect x="{:.1}" y="0" width="{width:.1}" height="{HEIGHT}"/><line class="guide" x1="{x:.1}" x2="{x:.1}" y1="{top}" y2="{bottom}"/>"#,
            x - width / 2.0,
        );
        let mut text = escaped(&self.names[at]);
        for series in &self.series {
            let Some(value) = series.values[at] else { continue };
            let (name, note) = (escaped(series.name), escaped(&series.notes[at]));
            let _ = write!(text, " · {name} {note}");
            if !series.is_bars {
                let class = series.class;
                let _ = write!(
                    svg,
                    r#"<circle class="{class}" cx="{x:.1}" cy="{:.1}" r="3.5"/>"#,
                    y(value)
                );
            }
        }
        let _ = write!(
            svg,
            r#"<text class="tip" x="{:.1}" y="12" text-anchor="end">{text}</text></g>"#,
            WIDTH - RIGHT
        );
    }
}

impl Series<'_> {
    fn draw_line(&self, svg: &mut String, x: impl Fn(usize) -> f64, y: impl Fn(f64) -> f64) {
        let mut path = String::new();
        let mut is_down = false;
        for (at, value) in self.values.iter().enumerate() {
            let Some(value) = *value else {
                is_down = false;
                continue;
            };
            let _ = write!(path, "{}{:.1} {:.1}", if is_down { "L" } else { "M" }, x(at), y(value));
            // A value that stands alone is a dot.
            let is_alone = !is_down && self.values.get(at + 1).is_none_or(Option::is_none);
            if is_alone {
                path.push_str("h.1");
            }
            is_down = true;
        }
        let _ = write!(svg, r#"<path class="curve {}" d="{path}"/>"#, self.class);
    }

    fn draw_bars(
        &self,
        svg: &mut String,
        x: impl Fn(usize) -> f64,
        y: impl Fn(f64) -> f64,
        width: f64,
    ) {
        for (at, value) in self.values.iter().enumerate() {
            let Some(value) = *value else { continue };
            let (top, bottom) = (y(value), y(0.0));
            let _ = write!(
                svg,
                r#"<rect class="bar {}" x="{:.1}" y="{top:.1}" width="{width:.1}" height="{:.1}"/>"#,
                self.class,
                x(at) - width / 2.0,
                bottom - top
            );
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_on_an_axis_are_round() {
        let most = |most: f64| Scale::Count.marks([most].into_iter()).2.to_string();
        let mosts = [0.0, 3.0, 7.0, 12.0, 95.0, 1234.0].map(most);
        assert_eq!(mosts, ["4", "4", "8", "20", "100", "2000"]);
        let least = |least: f64| Scale::Percent.marks([least].into_iter()).0.to_string();
        assert_eq!([100.0, 97.0, 93.0, 20.0].map(least), ["95", "95", "90", "0"]);
        assert_eq!([0.0, 500.0, 2500.0].map(|mark| Scale::Count.mark(mark)), ["0", "500", "2.5 k"]);
    }

    #[test]
    fn a_chart_says_its_values_and_no_markup_of_others() {
        let series = Series {
            name: "<b>",
            class: "logins",
            values: vec![Some(1.0), None, Some(2.0), Some(3.0)],
            notes: ["one", "", "two", "three"].map(str::to_owned).to_vec(),
            is_bars: false,
        };
        let names = ["10:00", "10:01", "10:02", "10:03"].map(str::to_owned).to_vec();
        let label = "a \"label\"".to_owned();
        let chart = Chart { label, series: vec![series], names, every: 2, scale: Scale::Count };
        let svg = chart.svg();
        assert!(svg.contains("10:02 · &lt;b&gt; two</text>"), "{svg}");
        assert!(
            svg.contains(r#"aria-label="a &quot;label&quot;""#) && !svg.contains("<b>"),
            "{svg}"
        );
        assert_eq!(svg.matches('M').count(), 2, "a gap parts the curve: {svg}");
    }
}
