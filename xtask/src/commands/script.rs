use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::page::{Block, Page};
use crate::run::Failure;

/// The ports that the pages name.
pub(crate) const PORTS: [&str; 4] = ["8000", "8001", "8002", "6379"];

/// Commands that take minutes.
const LONG: [&str; 4] = ["cargo bench", "cargo test", "cargo xtask", "-p loadtest"];

/// A shell script of the commands that a reader types.
pub(crate) struct Script {
    all: bool,
    text: String,
    pub(crate) blocks: usize,
    pub(crate) left_out: usize,
    /// The places of commands, and their output as the page shows it.
    pub(crate) transcripts: Vec<(String, String)>,
}

impl Script {
    pub(crate) fn new(all: bool) -> Self {
        Self {
            all,
            text: String::new(),
            blocks: 0,
            left_out: 0,
            transcripts: Vec::new(),
        }
    }

    pub(crate) fn page(&mut self, page: &Page) -> Result<(), Failure> {
        let mut written = BTreeSet::new();
        for block in &page.blocks {
            let is_long = |line: &String| LONG.iter().any(|long| line.contains(long));
            let is_long = block.kind == "sh" && block.lines.iter().any(is_long);
            let left_out = block.how.starts_with("not: ") || is_long && !self.all;
            if left_out {
                self.left_out += 1;
                continue;
            }
            let Block {
                place, kind, how, ..
            } = block;
            let _ = writeln!(self.text, "\nPLACE={place}\necho \"--- $PLACE\"");
            match (kind.as_str(), how.as_str()) {
                ("rust" | "", file) => {
                    self.file(file, &block.lines, written.insert(file.to_owned()));
                    continue;
                }
                ("sh", "") => {
                    for line in &block.lines {
                        let _ = writeln!(self.text, "{line}");
                    }
                }
                ("sh", "serve") => self.serve(&block.lines),
                ("console", "") => self.transcript(place, &block.lines)?,
                _ => {
                    return Err(format!(
                        "{place}: `try: {how}` says nothing of a `{kind}` block"
                    ));
                }
            }
            self.blocks += 1;
        }
        Ok(())
    }

    /// Writes a file. Its first part on a page replaces it, and later parts are appended.
    fn file(&mut self, file: &str, lines: &[String], is_first: bool) {
        let how = if is_first { ">" } else { ">>" };
        let _ = writeln!(
            self.text,
            "cat {how} {file} <<'END-OF-FILE'\n{}\n\nEND-OF-FILE",
            lines.join("\n")
        );
    }

    /// Starts each line as a program that runs until the next ones start.
    fn serve(&mut self, lines: &[String]) {
        let _ = writeln!(self.text, "stop");
        if lines.iter().any(|line| line.contains("6379")) {
            let _ = writeln!(self.text, "redis");
        }
        for (number, line) in lines.iter().enumerate() {
            let port = line.split("--listen 127.0.0.1:").nth(1).unwrap_or("8000");
            let port = port.split(' ').next().unwrap_or_default();
            let _ = writeln!(
                self.text,
                "( {line} ) >\"$OUT/server-{number}\" 2>&1 &\n\
                 answers {port} $! \"$OUT/server-{number}\""
            );
        }
    }

    fn transcript(&mut self, place: &str, lines: &[String]) -> Result<(), Failure> {
        let mut expected = String::new();
        let _ = writeln!(self.text, "later=()\n{{");
        for line in lines {
            let Some(command) = line.strip_prefix("$ ") else {
                let _ = writeln!(expected, "{line}");
                continue;
            };
            match command.strip_suffix(" &") {
                // Long enough for this program to start first.
                Some(command) => {
                    let _ = writeln!(
                        self.text,
                        "{command} >\"$OUT/later\" & later+=($!); sleep 0.2"
                    );
                }
                None => {
                    let _ = writeln!(self.text, "shown {}", quoted(command));
                }
            }
        }
        if !lines.first().is_some_and(|line| line.starts_with("$ ")) {
            return Err(format!("{place}: a transcript begins with a command"));
        }
        let file = file_of(place);
        let _ = writeln!(
            self.text,
            "for job in \"${{later[@]}}\"; do wait \"$job\"; shown 'cat \"$OUT/later\"'; done\n\
             }} >\"$OUT/{file}\""
        );
        self.transcripts.push((place.to_owned(), expected));
        Ok(())
    }

    /// Returns the whole script, with `ports` in place of those that the pages name.
    pub(crate) fn text(&self, ports: &[(&str, String)]) -> String {
        let redis = "redis() { \"$SERVER\" --port 6379 --save '' >\"$OUT/redis\" 2>&1 & \
                     answers 6379 $! \"$OUT/redis\"; }\nREDIS_PORT=6379\n";
        let begin = if self.text.contains("6379") || self.text.contains("redis-cli") {
            "redis\n"
        } else {
            ""
        };
        let mut text = [include_str!("prelude.sh"), redis, begin, &self.text].concat();
        if !self.all {
            text = text.replace(" --release", "");
        }
        let profile = if self.all { "release" } else { "debug" };
        text = text.replace(
            "target/release/",
            &format!("\"$CARGO_TARGET_DIR\"/{profile}/"),
        );
        for (named, free) in ports {
            text = text.replace(named, free);
        }
        text
    }
}

/// Names the file of a transcript's output.
pub(crate) fn file_of(place: &str) -> String {
    place.replace(['/', ':'], "-")
}

/// Quotes a text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Fails with the difference between two outputs, ignoring parts that vary between runs.
pub(crate) fn compare(expected: &str, printed: &str) -> Result<(), String> {
    let same = |text: &str| {
        text.lines()
            .filter(|line| !line.starts_with("date: "))
            .map(masked)
            .collect::<Vec<_>>()
    };
    if same(expected) == same(printed) {
        return Ok(());
    }
    Err(format!(
        "the page says\n{expected}\nand the commands print\n{printed}"
    ))
}

/// Removes hashes, fractions, and the seconds that an entry has left or is old.
fn masked(line: &str) -> String {
    let line = line.trim_end();
    let mut masked = String::new();
    let mut rest = line;
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_hexdigit()) {
        let (before, from) = rest.split_at(start);
        masked.push_str(before);
        let end = from
            .find(|letter: char| !letter.is_ascii_hexdigit() && letter != '.')
            .unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        let numeric = word
            .chars()
            .all(|letter| letter.is_ascii_digit() || letter == '.');
        let varies = word.len() >= 16
            || numeric && word.contains('.') && !line.starts_with("HTTP/")
            || numeric && (masked.ends_with("ttl=") || masked.ends_with("age: "));
        masked.push_str(if varies { "*" } else { word });
        rest = after;
    }
    masked + rest
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::page::{Block, Page};
    use super::{Script, compare};

    fn block(kind: &str, how: &str, lines: &[&str]) -> Block {
        Block {
            place: "p.md:1".into(),
            kind: kind.into(),
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            how: how.into(),
        }
    }

    fn script(all: bool, blocks: Vec<Block>) -> Result<Script, String> {
        let mut script = Script::new(all);
        script.page(&Page { blocks })?;
        Ok(script)
    }

    #[test]
    fn what_differs_each_time_does_not_count() {
        let expected = "HTTP/1.1 200 OK\nage: 0\nttl=299\n\
                        etag: \"d23c40e49d91896dd403ef1998e48a41\"\ndate: Tue\n0.4 s\n";
        let printed = "HTTP/1.1 200 OK\nage: 1\nttl=298\n\
                       etag: \"f181e53aa91014cdfff143c36965b77d\"\ndate: Wed\n0.412 s\n";
        compare(expected, printed).unwrap();
        compare("226\n", "200\n").unwrap_err();
        compare("Ann\n", "Bob\n").unwrap_err();
        compare("one\n", "one\ntwo\n").unwrap_err();
    }

    #[test]
    fn what_takes_long_waits_for_all() {
        let blocks = || vec![block("sh", "", &["cargo bench"]), block("sh", "", &["ls"])];
        let quick = script(false, blocks()).unwrap();
        assert_eq!((quick.blocks, quick.left_out), (1, 1));
        assert!(!quick.text(&[]).contains("cargo bench"));
        let all = script(true, blocks()).unwrap();
        assert_eq!((all.blocks, all.left_out), (2, 0));
    }

    #[test]
    fn what_cannot_be_tried_is_told() {
        for bad in [
            block("sh", "sevre", &["ls"]),
            block("console", "", &["no command"]),
        ] {
            assert!(script(true, vec![bad]).is_err());
        }
    }

    #[test]
    fn ports_and_builds_are_ours() {
        let lines = ["target/release/app --listen 127.0.0.1:8001 --cache redis://127.0.0.1:6379"];
        let script = script(false, vec![block("sh", "serve", &lines)]).unwrap();
        let text = script.text(&[("8001", "41".into()), ("6379", "42".into())]);
        assert!(text.contains("\"$CARGO_TARGET_DIR\"/debug/app --listen 127.0.0.1:41"));
        assert!(text.contains("answers 41") && text.contains("--port 42"));
        assert!(!text.contains("6379") && !text.contains("8001"));
    }
}
