//! Random names, which no other process has.

/// 128 random bits as 32 hexadecimal digits.
///
/// # Errors
/// If the system has no random bits to give.
pub fn hex() -> Result<String, getrandom::Error> {
    let mut bits = [0_u8; 16];
    getrandom::fill(&mut bits)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bits)))
}
