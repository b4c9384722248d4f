//! Draws the view. Nothing depends on colours: what is selected is inverted, what has changed is bold and has a sign.

use ratatui_core::layout::{Constraint, Layout, Rect};
use ratatui_core::style::{Color, Modifier, Style};
use ratatui_core::terminal::Frame;
use ratatui_core::text::{Line, Text};

use super::folder::{Child, Mark};
use super::listing::Listing;
use super::view::{Shown, View};

const INVERTED: Style = Style::new().add_modifier(Modifier::REVERSED);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
/// The rows for the whole text of the selected row of a list.
const DETAIL: u16 = 5;

/// The line at the bottom. Must fit into 80 columns.
const FOLDER_KEYS: &str = "Enter opens  Left back  / search  h history  c copy  ? all keys  q quit";
const VALUE_KEYS: &str = "Up, Down, PgUp, PgDn scroll  x hexadecimal  v copy  Left back  q quit";
const LIST_KEYS: &str = "Enter opens  Space marks  d difference  r again  Left back  ? all keys  q quit";
const SEARCH_KEYS: &str = "Enter goes to the key  r again  Left back  ? all keys  q quit";
const PROMPT_KEYS: &str = "Enter searches the keys below this folder  Esc cancels";

const HELP: &str = "\
Up, Down, j, k, PgUp, PgDn   move, or scroll a value
Enter, Right                 open a folder; show a value on the whole screen
Left, Backspace              back; to the folder above
Esc                          back; stops a search
r                            read again
x                            show a value in hexadecimal, or not
/                            search the keys below this folder for a text
h                            history of the key, or of the keys in the folder
c                            copy the name to the terminal's clipboard (OSC 52)
v                            copy the value
D, Delete                    delete the key or folder, like `del` (needs --write)
q, Ctrl-C                    quit

In a history:
Enter                        the value after this change
Space                        mark a revision
d                            difference from the marked revision, or until now

Signs: + new   ~ changed   - deleted";

pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let [title, path, middle, message, help] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let rights = if view.can_write { "can delete" } else { "read-only" };
    let line = format!(" browse {} ({rights})", view.endpoint);
    frame.render_widget(Line::styled(format!("{line:<width$}", width = usize::from(title.width)), INVERTED), title);
    let (path_text, message_text, keys) = draw_page(frame, view, middle);
    frame.render_widget(Line::raw(end_of(&path_text, usize::from(path.width))), path);
    frame.render_widget(Line::raw(message_text), message);
    frame.render_widget(Line::raw(keys), help);
}

/// Draws what is between the rows at the top and at the bottom. Returns the texts of these rows: where this is, a message,
/// and the keys that can be pressed.
fn draw_page(frame: &mut Frame<'_>, view: &View, area: Rect) -> (String, String, &'static str) {
    if view.is_help {
        frame.render_widget(Text::raw(HELP), area);
        return ("keys of the keyboard".to_owned(), String::new(), "any key closes this page");
    }
    if let Some(past) = view.past_value() {
        draw_value(frame, past, area);
        return (view.list_title(), view.message(), VALUE_KEYS);
    }
    if let Some(listing) = view.listing() {
        draw_list(frame, listing, area);
        let keys = if listing.has_revisions() { LIST_KEYS } else { SEARCH_KEYS };
        return (view.list_title(), view.list_message(listing), keys);
    }
    draw_folder(frame, view, area);
    if let Some(typed) = &view.prompt {
        let typed = end_of(typed, usize::from(area.width).saturating_sub(10));
        return (view.path(), format!("search: {typed}_"), PROMPT_KEYS);
    }
    (view.path(), view.message(), if view.is_wide() { VALUE_KEYS } else { FOLDER_KEYS })
}

fn draw_folder(frame: &mut Frame<'_>, view: &View, area: Rect) {
    if let Some(shown) = view.value().filter(|_| view.is_wide()) {
        draw_value(frame, shown, area);
        return;
    }
    let width = u16::try_from(view.list_width()).unwrap_or(u16::MAX);
    let [list, _, value] =
        Layout::horizontal([Constraint::Length(width), Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let prefix = view.folder.prefix().len();
    let lines = view
        .folder
        .lines()
        .iter()
        .enumerate()
        .map(|(row, child)| line(child, prefix, row == view.folder.selected_row(), view.has_colours));
    frame.render_widget(Text::from_iter(lines), list);
    match (view.value(), view.about_folder()) {
        (Some(shown), _) => draw_value(frame, shown, value),
        (None, Some(about)) => frame.render_widget(Line::raw(about), value),
        (None, None) => {}
    }
}

/// A line of the folder, with a sign for what has happened to it.
fn line(child: &Child, prefix: usize, is_selected: bool, has_colours: bool) -> Line<'static> {
    let name = child.name.bytes.get(prefix..).unwrap_or_default();
    let name = if name.is_empty() {
        "(the key with the folder's own name)".to_owned()
    } else {
        etcd_keys::text::Escaped(name).to_string()
    };
    let (sign, style, colour) = match child.mark.map(|(mark, _)| mark) {
        None => (' ', Style::new(), Color::Reset),
        Some(Mark::New) => ('+', BOLD, Color::Green),
        Some(Mark::Changed) => ('~', BOLD, Color::Yellow),
        Some(Mark::Deleted) => ('-', BOLD, Color::Red),
    };
    let style = if has_colours { style.fg(colour) } else { style };
    let style = if is_selected { style.patch(INVERTED) } else { style };
    Line::styled(format!("{}{sign}{name}", if is_selected { '>' } else { ' ' }), style)
}

fn draw_value(frame: &mut Frame<'_>, shown: &Shown, area: Rect) {
    let visible = shown.lines.iter().skip(shown.scroll).take(usize::from(area.height.saturating_sub(1)));
    let lines =
        std::iter::once(Line::styled(shown.value.about(), BOLD)).chain(visible.map(|line| Line::raw(line.as_str())));
    frame.render_widget(Text::from_iter(lines), area);
}

fn draw_list(frame: &mut Frame<'_>, listing: &Listing, area: Rect) {
    let [list, detail] = Layout::vertical([Constraint::Min(1), Constraint::Length(DETAIL)]).areas(area);
    let height = usize::from(list.height).max(1);
    // Pages do not overlap, so that most key presses move only the selection.
    let first = listing.selected / height * height;
    let rows = listing.rows.iter().enumerate().skip(first).take(height).map(|(number, row)| {
        let is_selected = number == listing.selected;
        let mark = if row.revision > 0 && listing.marked == Some(row.revision) { '*' } else { ' ' };
        let text = format!("{}{mark}{}", if is_selected { '>' } else { ' ' }, row.text);
        Line::styled(text, if is_selected { INVERTED } else { Style::new() })
    });
    frame.render_widget(Text::from_iter(rows), list);
    if let Some(row) = listing.selected() {
        let lines = super::value::wrap(&row.text, usize::from(detail.width).max(1));
        let rule = Line::raw("─".repeat(usize::from(detail.width)));
        let lines = std::iter::once(rule).chain(lines.into_iter().map(Line::from));
        frame.render_widget(Text::from_iter(lines), detail);
    }
}

/// The end of a text that is too long for a row.
fn end_of(text: &str, width: usize) -> String {
    let long = text.chars().count().saturating_sub(width);
    if long == 0 { text.to_owned() } else { std::iter::once('…').chain(text.chars().skip(long + 1)).collect() }
}
