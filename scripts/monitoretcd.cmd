@echo off
rem monitoretcd [KEY...] [OPTION...]: the door to `cargo xtask watch` that Cloud Chamber's people know; without
rem a KEY it follows everything under the product's root. -h or --help shows the options. Holds no logic.
setlocal
cargo run --manifest-path "%~dp0..\Cargo.toml" --package xtask -- watch %*
exit /b %errorlevel%
