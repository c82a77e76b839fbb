//! Aligned columns, also with Chinese names in them.

/// A table with a head; columns whose cells are all numbers are aligned to the right.
pub fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| width(&row[column]));
        cells.chain([width(head[column])]).max().unwrap_or(0)
    });
    let right: [bool; N] =
        std::array::from_fn(|column| rows.iter().all(|row| row[column].parse::<u64>().is_ok()));
    let mut out = String::new();
    let mut line = |cells: [&str; N]| {
        let mut text = String::new();
        for (column, cell) in cells.into_iter().enumerate() {
            let padding = " ".repeat(widths[column] - width(cell));
            let gap = if column == 0 { "" } else { "  " };
            let (before, after) = if right[column] { (padding.as_str(), "") } else { ("", padding.as_str()) };
            text.extend([gap, before, cell, after]);
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(head);
    for row in rows {
        line(std::array::from_fn(|column| row[column].as_str()));
    }
    out
}

/// How many columns of a terminal a text takes.
fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// East Asian wide characters take two columns, combining ones none. An approximation that serves for names.
fn char_width(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036F | 0x200B..=0x200F | 0xFE00..=0xFE0F => 0,
        0x1100..=0x115F
        | 0x2E80..=0x303E
        | 0x3041..=0xA4CF
        | 0xAC00..=0xD7A3
        | 0xF900..=0xFAFF
        | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60
        | 0xFFE0..=0xFFE6
        | 0x1F300..=0x1FAFF
        | 0x20000..=0x3FFFD => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_also_with_wide_characters() {
        let rows = [
            ["报警机器人".to_owned(), "7".to_owned(), "x".to_owned()],
            ["bot".to_owned(), "12".to_owned(), "y".to_owned()],
        ];
        let expected = "NAME        ID  LAST\n报警机器人   7  x\nbot         12  y\n";
        assert_eq!(table(["NAME", "ID", "LAST"], &rows), expected);
    }

    #[test]
    fn an_empty_table_is_nothing() {
        assert_eq!(table(["NAME"], &[]), "");
    }
}
