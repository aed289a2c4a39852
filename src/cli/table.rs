//! Channels as an aligned table.

use super::control_client::Channel;

/// A header and a line for each channel.
pub(super) fn of_channels(channels: &[Channel]) -> String {
    let line = |channel: &Channel| {
        let position = |position: &Option<String>| position.clone().unwrap_or_else(|| "-".into());
        [
            channel.channel.clone(),
            channel.subscribers.to_string(),
            channel.messages.to_string(),
            position(&channel.first),
            position(&channel.last),
        ]
    };
    let header = ["CHANNEL", "SUBSCRIBERS", "MESSAGES", "FIRST", "LAST"].map(str::to_owned);
    let lines: Vec<_> = std::iter::once(header).chain(channels.iter().map(line)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let [name, subscribers, messages, first, _] = [0, 1, 2, 3, 4].map(width);
    let print = |[a, b, c, d, e]: &[String; 5]| {
        format!("{a:name$}  {b:>subscribers$}  {c:>messages$}  {d:first$}  {e}\n")
    };
    lines.iter().map(print).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let channel = |name: &str, subscribers, first: Option<&str>| Channel {
            channel: name.into(),
            subscribers,
            messages: 2,
            first: first.map(str::to_owned),
            last: None,
        };
        let channels = [channel("käse", 1, Some("e-1")), channel("a-long-channel", 12_345_678_901_234, None)];
        let expected = "\
CHANNEL            SUBSCRIBERS  MESSAGES  FIRST  LAST
käse                         1         2  e-1    -
a-long-channel  12345678901234         2  -      -
";
        assert_eq!(of_channels(&channels), expected);
    }
}
