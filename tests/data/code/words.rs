use std::collections::HashMap;
use std::fs;

#[derive(Debug, Clone)]
pub struct Counts {
    words: HashMap<String, usize>,
    lines: usize,
}

impl Counts {
    pub fn read(path: &str) -> std::io::Result<Self> {
        let text = fs::read_to_string(path)?;
        let mut words = HashMap::new();
        for line in text.lines() {
            for word in line.split_whitespace() {
                *words.entry(word.to_lowercase()).or_insert(0) += 1;
            }
        }
        let lines = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count();
        Ok(Self { words, lines })
    }

    pub fn longest(&self) -> Option<&str> {
        self.words
            .keys()
            .max_by_key(|word| word.len())
            .map(String::as_str)
    }

    pub fn describe(&self) -> String {
        match self.lines {
            0 => "nothing".to_string(),
            1 => "one line".to_string(),
            lines => format!("{} lines", lines),
        }
    }
}

#[test]
fn counts_words() {
    let counts = Counts::read("tests/words.txt").unwrap();
    assert_eq!(counts.lines, 3);
}

#[test]
fn nothing_is_longest_in_nothing() {
    let counts = Counts { words: HashMap::new(), lines: 0 };
    assert_eq!(counts.longest(), None);
}
