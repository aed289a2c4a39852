//! Lines of YAML in which nothing that was typed elsewhere can become YAML.

/// What has been written.
#[derive(Default)]
pub(super) struct Yaml {
    pub(super) text: String,
}

impl Yaml {
    pub(super) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A remark, at the beginning of a line.
    pub(super) fn comment(&mut self, text: &str) {
        self.line(&format!("# {}", on_one_line(text)));
    }

    /// What has no equivalent.
    pub(super) fn not_taken_over(&mut self, what: &str) {
        self.comment(&format!("not taken over: {what}"));
    }
}

/// A text as a scalar in double quotes (YAML 1.2.2 §7.3.1), which reads its escapes as JSON does. Variables are put
/// in where `${` stands, so that this is written `$${`.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text.replace("${", "$${")).to_string()
}

/// A comment ends where its line does.
fn on_one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}
