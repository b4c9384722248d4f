//! Panels as SVG: logarithmic axes, lines, a label at the end of each. In light and in dark, on a ground of its own.

use std::ops::Range;

use anyhow::{Context as _, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Line, Panel, Side};
use crate::bench::table::rounded;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const PANEL: (u32, u32) = (490, 300);
const HEAD: u32 = 64;
const MARGIN: i32 = 20;
/// Room for the labels of lines, at the right of a panel.
const LABELS: u32 = 128;
/// Between two labels.
const LEADING: i32 = 15;

/// A colour, and what it is where the reader prefers dark.
struct Ink {
    light: RGBColor,
    dark: RGBColor,
}

const GROUND: Ink = Ink { light: RGBColor(255, 255, 255), dark: RGBColor(13, 17, 23) };
const TEXT: Ink = Ink { light: RGBColor(31, 35, 40), dark: RGBColor(240, 246, 252) };
const FAINT: Ink = Ink { light: RGBColor(89, 99, 110), dark: RGBColor(145, 152, 161) };
const GRID: Ink = Ink { light: RGBColor(218, 223, 229), dark: RGBColor(48, 54, 61) };
const OURS: Ink = Ink { light: RGBColor(9, 105, 218), dark: RGBColor(88, 166, 255) };
const OTHER: Ink = Ink { light: RGBColor(188, 76, 0), dark: RGBColor(240, 136, 62) };
const THIRD: Ink = Ink { light: RGBColor(130, 80, 223), dark: RGBColor(188, 140, 255) };
const INKS: [&Ink; 7] = [&GROUND, &TEXT, &FAINT, &GRID, &OURS, &OTHER, &THIRD];

impl Side {
    fn ink(self) -> &'static Ink {
        match self {
            Self::Ours => &OURS,
            Self::Other => &OTHER,
            Self::Third => &THIRD,
        }
    }
}

/// A text's style: its size in pixels, which plotters counts in its own way, and where in it its place is.
fn text(pixels: u32, ink: &Ink, place: Pos) -> TextStyle<'static> {
    const OF_A_PIXEL: f64 = 1.24;
    let family = FontFamily::Name("system-ui, sans-serif");
    let font = FontDesc::new(family, f64::from(pixels) * OF_A_PIXEL, FontStyle::Normal);
    TextStyle { font, color: ink.light.to_backend_color(), pos: place }
}

const TOP_LEFT: Pos = Pos { h_pos: HPos::Left, v_pos: VPos::Top };
const ABOVE: Pos = Pos { h_pos: HPos::Center, v_pos: VPos::Bottom };
const BELOW: Pos = Pos { h_pos: HPos::Center, v_pos: VPos::Top };
const BESIDE: Pos = Pos { h_pos: HPos::Left, v_pos: VPos::Center };

pub(super) fn svg(panels: &[Panel], subtitle: &str) -> Result<String> {
    let columns = panels.len().min(2);
    let rows = panels.len().div_ceil(2);
    let size = (PANEL.0 * columns as u32, HEAD + PANEL.1 * rows as u32);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&GROUND.light)?;
        let (head, body) = root.split_vertically(HEAD);
        draw_head(&head, subtitle)?;
        for (area, panel) in body.split_evenly((rows, columns)).iter().zip(panels) {
            draw_panel(&root, area, panel).with_context(|| format!("cannot draw `{}`", panel.title))?;
        }
        root.present()?;
    }
    in_both_lights(&svg)
}

/// The title, what it is of, and whose the colours are.
fn draw_head(area: &Area<'_>, subtitle: &str) -> Result<()> {
    let bold = text(20, &TEXT, TOP_LEFT);
    let bold = TextStyle { font: bold.font.style(FontStyle::Bold), ..bold };
    area.draw(&Text::new("How cost grows", (MARGIN, 14), bold))?;
    area.draw(&Text::new(subtitle.to_owned(), (MARGIN, 42), text(12, &FAINT, TOP_LEFT)))?;
    let mut x = area.dim_in_pixel().0 as i32 - 250;
    for (name, ink, width) in [("ours", &OURS, 66), ("the other side", &OTHER, 124)] {
        area.draw(&PathElement::new([(x, 24), (x + 20, 24)], ink.light.stroke_width(3)))?;
        area.draw(&Text::new(name, (x + 26, 24), text(12, &TEXT, BESIDE)))?;
        x += width;
    }
    Ok(())
}

fn draw_panel(root: &Area<'_>, area: &Area<'_>, panel: &Panel) -> Result<()> {
    area.draw(&Text::new(panel.title, (MARGIN, 8), text(14, &TEXT, TOP_LEFT)))?;
    let points = || panel.lines.iter().flat_map(|line| &line.points);
    let x = decades(points().map(|(x, _)| *x));
    let y = decades(points().map(|(_, y)| *y));
    let mut builder = ChartBuilder::on(area);
    builder.margin(MARGIN).margin_top(32).margin_right(LABELS);
    builder.x_label_area_size(42).y_label_area_size(58);
    let mut chart = builder.build_cartesian_2d(x.log_scale(), y.log_scale())?;
    let mut mesh = chart.configure_mesh();
    mesh.light_line_style(TRANSPARENT).bold_line_style(GRID.light).axis_style(FAINT.light);
    mesh.x_labels(6).y_labels(8).label_style(text(11, &FAINT, TOP_LEFT)).axis_desc_style(text(11, &FAINT, TOP_LEFT));
    mesh.x_label_formatter(&|count| rounded(count.round() as u64)).y_label_formatter(&|seconds| duration(*seconds));
    mesh.x_desc(panel.x).y_desc("time").draw()?;
    let mut labels = Vec::new();
    for line in &panel.lines {
        let ink = line.side.ink();
        let points = line.points.iter().copied();
        if line.dashed {
            chart.draw_series(DashedLineSeries::new(points.clone(), 6, 4, ink.light.stroke_width(2)))?;
        } else {
            chart.draw_series(LineSeries::new(points.clone(), ink.light.stroke_width(2)))?;
        }
        chart.draw_series(points.clone().map(|point| Circle::new(point, 3, ink.light.filled())))?;
        if let Some(last) = points.last() {
            labels.push((chart.backend_coord(&last), line));
        }
    }
    let edge = chart.plotting_area().get_pixel_range().0.end;
    draw_labels(root, labels, edge)
}

/// A label at the end of each line: in the margin, apart from each other. Of lines that end early above their end,
/// where no line that grows comes along; below it, if there is one above already.
fn draw_labels(root: &Area<'_>, mut labels: Vec<((i32, i32), &Line)>, edge: i32) -> Result<()> {
    labels.sort_by_key(|((_, y), _)| *y);
    let (mut free, mut last_above) = (i32::MIN, None);
    for ((x, y), line) in labels {
        let ends_early = x + LEADING < edge;
        let (at, place) = if !ends_early {
            let y = y.max(free);
            free = y + LEADING;
            ((x + 8, y), BESIDE)
        } else if last_above.is_some_and(|(other_x, other_y): (i32, i32)| other_x == x && y - other_y < LEADING) {
            ((x, y + 6), BELOW)
        } else {
            last_above = Some((x, y));
            ((x, y - 6), ABOVE)
        };
        root.draw(&Text::new(line.label.clone(), at, text(11, line.side.ink(), place)))?;
    }
    Ok(())
}

/// Whole decades around some values.
fn decades(values: impl Iterator<Item = f64>) -> Range<f64> {
    let logs = values.map(f64::log10);
    let (least, most) = logs.fold((f64::MAX, f64::MIN), |(least, most), log| (least.min(log), most.max(log)));
    let (from, to) = (least.floor(), most.ceil());
    // A little more, for the marks at both ends to be in it.
    let (from, to) = (from - 0.001, to.max(from + 1.0) + 0.001);
    10f64.powf(from)..10f64.powf(to)
}

/// `10 ms`, `0.1 s`, `10 s`.
fn duration(seconds: f64) -> String {
    let rounded = |value: f64| (value * 1e3).round() / 1e3;
    if seconds < 0.05 { format!("{} ms", rounded(seconds * 1e3)) } else { format!("{} s", rounded(seconds)) }
}

/// Has the reader's preference choose between an ink's two colours, and tells what the picture is.
fn in_both_lights(svg: &str) -> Result<String> {
    let hex = |RGBColor(red, green, blue): RGBColor| format!("#{red:02X}{green:02X}{blue:02X}");
    let rule = |ink: &Ink| {
        let (light, dark) = (hex(ink.light), hex(ink.dark));
        format!(r#"[fill="{light}"]{{fill:{dark}}}[stroke="{light}"]{{stroke:{dark}}}"#)
    };
    let rules: String = INKS.into_iter().map(rule).collect();
    let style = format!("<style>@media (prefers-color-scheme:dark){{{rules}}}</style>");
    let (head, body) = svg.split_once(">\n").context("there is no SVG")?;
    Ok(format!("{head} role=\"img\">\n<title>How cost grows</title>\n{style}\n{body}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_whole_decades() {
        let around = |values: &[f64]| {
            let range = decades(values.iter().copied());
            assert!(values.iter().all(|value| range.contains(value)));
            (range.start.log10().round(), range.end.log10().round())
        };
        assert_eq!(around(&[0.02, 0.5, 3.0]), (-2.0, 1.0));
        assert_eq!(around(&[100.0]), (2.0, 3.0));
    }

    #[test]
    fn times_are_readable() {
        assert_eq!([0.001, 0.01, 0.1, 1.0, 10.0].map(duration), ["1 ms", "10 ms", "0.1 s", "1 s", "10 s"]);
    }
}
