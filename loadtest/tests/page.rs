//! report.html as a browser shows it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

const NAMES: &str = "chromium chromium-browser google-chrome google-chrome-stable";
const FLAGS: &str = "--headless --no-sandbox --disable-gpu --hide-scrollbars \
    --disable-dev-shm-usage --no-first-run --force-device-scale-factor=1";
const PHONE: u32 = 360;
const DESK: u32 = 1280;
/// Of phones, a tablet and a desk.
const WIDTHS: [u32; 4] = [PHONE, 390, 768, DESK];
/// Colours of `page.css`: axum, poem, warp, kept, the sheet under charts.
const LIGHT: [&str; 5] = ["0072b2", "c95400", "007a5c", "0a6b3d", "ffffff"];
const DARK: [&str; 5] = ["56b4e9", "ff9a52", "2fd0a2", "4cc38a", "181c22"];

/// The browser that `CACHIFY_BROWSER` names, else one on the `PATH`.
fn browser() -> PathBuf {
    if let Some(named) = std::env::var_os("CACHIFY_BROWSER") {
        return named.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let files = NAMES.split(' ').flat_map(|name| {
        let dirs = std::env::split_paths(&path);
        dirs.map(move |dir| dir.join(name)).collect::<Vec<_>>()
    });
    files.into_iter().find(|file| file.is_file()).expect(
        "there is no browser to look at report.html with: install `chromium` (apt-get install \
         chromium), name a Chromium or Chrome in CACHIFY_BROWSER, or let `cargo xtask test` \
         install one",
    )
}

/// The report of `tests/report.json` as a page, and a browser to load it.
struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let json = dir.path().join("report.json");
        fs::write(&json, include_bytes!("report.json")).unwrap();
        let mut render = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        let rendered = render.arg("render").arg(&json).output().unwrap();
        assert!(rendered.status.success(), "{rendered:?}");
        Self { dir }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A page that shows the report at some widths side by side, and what it says about itself. No
    /// window is as narrow as a phone, but a frame is.
    fn frames(&self, widths: &[u32], height: u32, script: &str) -> PathBuf {
        let report = fs::read_to_string(self.file("report.html")).unwrap();
        let report = report.replace('&', "&amp;").replace('"', "&quot;");
        let mut page = String::from(
            "<!doctype html><meta charset=utf-8><body style=\"margin:0;display:flex\">",
        );
        for width in widths {
            let _ = write!(
                page,
                "<iframe style=\"border:0;flex:none;width:{width}px;height:{height}px\" \
                 srcdoc=\"{report}\"></iframe>"
            );
        }
        let _ = write!(page, "<script>onload = () => {{{script}}}</script>");
        let file = self.file("frames.html");
        fs::write(&file, page).unwrap();
        file
    }

    fn load(&self, page: &Path, arguments: &[&str]) -> String {
        let output = self.file("stdout");
        let profile = self.file("profile");
        let mut child = Command::new(browser())
            .args(FLAGS.split(' '))
            .arg(format!("--user-data-dir={}", profile.display()))
            .args(arguments)
            .arg(format!("file://{}", page.display()))
            .stdin(Stdio::null())
            .stdout(File::create(&output).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let end = Instant::now() + Duration::from_mins(2);
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > end {
                child.kill().ok();
                child.wait().ok();
                panic!("the browser did not end within two minutes");
            }
            sleep(Duration::from_millis(20));
        };
        assert!(status.success(), "{status}");
        fs::read_to_string(output).unwrap()
    }

    /// Counts the pixels of each colour on a phone and on a desk, side by side.
    fn pixels(&self, scheme: &str, colours: [&str; 5]) -> [[usize; 5]; 2] {
        const HEIGHT: u32 = 5_000;
        let page = self.frames(&[PHONE, DESK], HEIGHT, "");
        let picture = self.file("picture.png");
        let screenshot = format!("--screenshot={}", picture.display());
        let size = format!("--window-size={},{HEIGHT}", PHONE + DESK);
        self.load(&page, &[&screenshot, &size, scheme]);
        let decoder = png::Decoder::new(BufReader::new(File::open(picture).unwrap()));
        let mut reader = decoder.read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut bytes).unwrap();
        assert_eq!((frame.width, frame.height), (PHONE + DESK, HEIGHT));
        let samples = frame.color_type.samples();
        assert!(samples >= 3, "{frame:?}");
        let colours = colours.map(|it| u32::from_str_radix(it, 16).unwrap().to_be_bytes());
        let mut counts = [[0; 5]; 2];
        for row in bytes.chunks_exact(frame.line_size) {
            for (x, pixel) in row.chunks_exact(samples).enumerate() {
                let counts = &mut counts[usize::from(x >= PHONE as usize)];
                for (count, colour) in counts.iter_mut().zip(&colours) {
                    *count += usize::from(pixel[..3] == colour[1..]);
                }
            }
        }
        counts
    }
}

/// Says of each frame how wide its content is, and names what is cut, too small, on top of
/// something else, or empty.
const LOOK: &str = r#"
const seen = [...document.querySelectorAll("iframe")].map(frame => {
  const page = frame.contentDocument, root = page.documentElement, wrong = [];
  const inside = (a, b, by) => a.left >= b.left - by && a.right <= b.right + by && a.top >= b.top - by && a.bottom <= b.bottom + by;
  for (const element of page.body.querySelectorAll("*")) {
    const box = element.getBoundingClientRect();
    if (!element.closest("svg, thead") && box.right > root.clientWidth + 1) wrong.push("too wide: " + element.outerHTML.slice(0, 80));
  }
  for (const figure of page.querySelectorAll("figure")) {
    const name = figure.querySelector("figcaption").textContent, svg = figure.querySelector("svg"), sheet = svg.getBoundingClientRect();
    if (sheet.height < 40 || !svg.querySelector("path, rect, line")) wrong.push("empty: " + name);
    const texts = [...svg.querySelectorAll("text")].map(text => [text.textContent, text.getBoundingClientRect()]);
    const scale = sheet.width / svg.viewBox.baseVal.width;
    if (scale < 0.8) wrong.push("too small: " + name);
    texts.forEach(([text, box], index) => {
      if (!inside(box, sheet, 2)) wrong.push("cut: " + name + ": " + text);
      for (const [other, its] of texts.slice(index + 1)) {
        const apart = box.right <= its.left || its.right <= box.left || box.bottom <= its.top + 3 || its.bottom <= box.top + 3;
        if (!apart) wrong.push("overlap: " + name + ": " + text + ", " + other);
      }
    });
  }
  return { scroll: root.scrollWidth, client: root.clientWidth, height: root.scrollHeight, figures: page.querySelectorAll("figure").length, wrong };
});
document.body.innerHTML = "<pre></pre>";
document.querySelector("pre").textContent = JSON.stringify(seen);
"#;

#[test]
fn nothing_is_cut_or_too_wide_or_on_top_of_something_else_at_any_width() {
    let site = Site::new();
    let page = site.frames(&WIDTHS, 800, LOOK);
    let dom = site.load(&page, &["--window-size=2900,900", "--dump-dom"]);
    let (_, rest) = dom.split_once("<pre>").expect(&dom);
    let (json, _) = rest.split_once("</pre>").unwrap();
    let json = json
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    let seen: Vec<Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(seen.len(), WIDTHS.len());
    for (frame, width) in seen.iter().zip(WIDTHS) {
        assert_eq!(frame["client"], width, "{frame}");
        assert_eq!(frame["scroll"], width, "it scrolls sideways: {frame}");
        assert!(frame["figures"].as_u64().unwrap() > 20, "{frame}");
        let wrong = frame["wrong"].as_array().unwrap();
        assert!(wrong.is_empty(), "at {width} px: {wrong:#?}");
    }
}

#[test]
fn charts_have_their_colours_on_a_phone_and_a_desk_by_day_and_by_night() {
    let site = Site::new();
    for (scheme, colours) in [
        ("--blink-settings=preferredColorScheme=1", LIGHT),
        ("--blink-settings=preferredColorScheme=0", DARK),
    ] {
        let counts = site.pixels(scheme, colours);
        for (counts, width) in counts.iter().zip([PHONE, DESK]) {
            for (count, colour) in counts.iter().zip(colours) {
                assert!(*count > 500, "{count} of {colour} at {width} px, {scheme}");
            }
        }
    }
}

#[test]
fn it_prints() {
    let site = Site::new();
    let pdf = site.file("report.pdf");
    let print = format!("--print-to-pdf={}", pdf.display());
    site.load(
        &site.file("report.html"),
        &[&print, "--no-pdf-header-footer"],
    );
    let bytes = fs::read(pdf).unwrap();
    assert!(bytes.starts_with(b"%PDF"));
    assert!(bytes.len() > 50_000, "{}", bytes.len());
}
