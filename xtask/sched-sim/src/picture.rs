//! The picture of a simulation: who was on which pcpu, and how shares came about.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::measure::Outcome;
use crate::plan::first_vcpus;
use crate::scenario::{SECOND, Scenario};

const SIZE: (u32, u32) = (1200, 800);
/// Most domains that are named beside the curves.
const MOST_NAMES: usize = 24;

/// An SVG: above the first part of the measured time by pcpu, coloured by domain; below the shares of domains,
/// from the begin until then, in percent of one pcpu.
///
/// # Errors
///
/// What cannot be drawn.
pub fn draw(scenario: &Scenario, outcome: &Outcome) -> Result<String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(no_picture)?;
        let (above, below) = root.split_vertically(SIZE.1 / 2);
        timeline(&above, scenario, outcome)?;
        shares(&below, scenario, outcome)?;
        root.present().map_err(no_picture)?;
    }
    Ok(text)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn no_picture(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw the picture: {error}")
}

/// Colours as different as possible for neighbours.
fn color(domain: usize) -> HSLColor {
    HSLColor((domain as f64 * 0.618_034).fract(), 0.65, 0.45)
}

fn timeline(area: &Area<'_>, scenario: &Scenario, outcome: &Outcome) -> Result<()> {
    let seconds = |ns: u64| ns as f64 / SECOND as f64;
    let from = seconds(scenario.warm_up);
    let to = outcome.stays.iter().map(|stay| seconds(stay.to)).fold(from, f64::max);
    let to = to.min(from + 20.0 * seconds(scenario.slice)).max(from + 1e-3);
    let mut chart = ChartBuilder::on(area)
        .caption("pcpus", ("sans-serif", 18))
        .margin(8)
        .x_label_area_size(30)
        .y_label_area_size(60)
        .build_cartesian_2d(from..to, 0.0..scenario.pcpus as f64)
        .map_err(no_picture)?;
    chart.configure_mesh().disable_mesh().x_desc("seconds").draw().map_err(no_picture)?;
    let domains = domains_of_vcpus(scenario);
    let bars = outcome.stays.iter().map(|stay| {
        let row = stay.pcpu as f64;
        let corners = [(seconds(stay.from).max(from), row + 0.1), (seconds(stay.to).min(to), row + 0.9)];
        Rectangle::new(corners, color(domains[stay.vcpu]).filled())
    });
    chart.draw_series(bars).map_err(no_picture)?;
    Ok(())
}

fn shares(area: &Area<'_>, scenario: &Scenario, outcome: &Outcome) -> Result<()> {
    let curve = |domain: usize| {
        let after_begin = outcome.samples.iter().filter(|(at, _)| *at > 0);
        after_begin
            .map(move |(at, ran)| (*at as f64 / SECOND as f64, ran[domain] as f64 / *at as f64 * 100.0))
    };
    let count = scenario.domains.len();
    let highest = (0..count).flat_map(curve).map(|(_, share)| share).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption("shares since the begin, % of a pcpu", ("sans-serif", 18))
        .margin(8)
        .x_label_area_size(30)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..scenario.length as f64 / SECOND as f64, 0.0..highest * 1.05)
        .map_err(no_picture)?;
    chart.configure_mesh().x_desc("seconds").draw().map_err(no_picture)?;
    for (domain, settings) in scenario.domains.iter().enumerate() {
        let series = chart.draw_series(LineSeries::new(curve(domain), color(domain))).map_err(no_picture)?;
        if count <= MOST_NAMES {
            let legend = move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color(domain));
            series.label(settings.name.clone()).legend(legend);
        }
    }
    if count <= MOST_NAMES {
        chart
            .configure_series_labels()
            .background_style(WHITE)
            .border_style(BLACK)
            .draw()
            .map_err(no_picture)?;
    }
    Ok(())
}

fn domains_of_vcpus(scenario: &Scenario) -> Vec<usize> {
    let firsts = first_vcpus(scenario);
    let counts = firsts.windows(2).map(|pair| pair[1] - pair[0]);
    counts.enumerate().flat_map(|(domain, count)| std::iter::repeat_n(domain, count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::simulate;

    #[test]
    fn the_picture_has_stays_curves_and_names() {
        let scenario = Scenario { length: 3 * SECOND, ..Scenario::new(2).with(256, 2).with(512, 1) };
        let outcome = simulate(&scenario, &mut |_| true);
        let picture = draw(&scenario, &outcome).unwrap();
        assert!(picture.trim_start().starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
        assert!(picture.matches("<rect").count() > 20 && picture.matches("<polyline").count() >= 2);
        assert!(picture.contains("d2"));
    }

    #[test]
    fn vcpus_have_the_colour_of_their_domain() {
        assert_eq!(domains_of_vcpus(&Scenario::new(1).with(1, 2).with(1, 1)), [0, 0, 1]);
    }
}
