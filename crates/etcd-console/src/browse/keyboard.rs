//! What the keys of the keyboard mean.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::interrupt::INTERRUPTED;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Up,
    Down,
    PageUp,
    PageDown,
    /// Enter, or the right arrow.
    Open,
    /// The left arrow.
    Back,
    /// Esc: stops a search; else goes back.
    Stop,
    /// The last character of a text that is typed is removed.
    Erase,
    Delete,
    Char(char),
    /// Nothing, but the screen is drawn.
    Nothing,
    /// Ends with this exit code.
    End(u8),
}

pub(super) fn action(event: &Event) -> Action {
    match event {
        Event::Key(KeyEvent { kind: KeyEventKind::Release, .. }) => Action::Nothing,
        Event::Key(key) if key.modifiers.contains(KeyModifiers::CONTROL) => match key.code {
            KeyCode::Char('c') => Action::End(u8::try_from(INTERRUPTED).unwrap_or(1)),
            _ => Action::Nothing,
        },
        Event::Key(key) => match key.code {
            KeyCode::Up => Action::Up,
            KeyCode::Down => Action::Down,
            KeyCode::PageUp => Action::PageUp,
            KeyCode::PageDown => Action::PageDown,
            KeyCode::Enter | KeyCode::Right => Action::Open,
            KeyCode::Left => Action::Back,
            KeyCode::Esc => Action::Stop,
            KeyCode::Backspace => Action::Erase,
            KeyCode::Delete => Action::Delete,
            KeyCode::Char(c) => Action::Char(c),
            _ => Action::Nothing,
        },
        _ => Action::Nothing,
    }
}
