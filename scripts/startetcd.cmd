@echo off
rem startetcd [DATA_PATH] [OPTION...]: the door to `cargo xtask etcd-up` that Cloud Chamber's people know.
rem -h or --help shows the options. ETCDBINPATH, ETCDINSTANCE, ETCDNODEADDR, ETCDPORTCLNT, ETCDPORTPEER and
rem ETCDDATA are obeyed. Holds no logic.
setlocal
set "first=%~1"
set "cargo=cargo --config term.progress.when='always' --config term.progress.width=80 run --quiet --manifest-path "%~dp0..\Cargo.toml" --package xtask --"
if not defined first goto options
if "%first:~0,1%"=="-" goto options
%cargo% etcd-up --data-dir "%~1" %2 %3 %4 %5 %6 %7 %8 %9
exit /b %errorlevel%
:options
%cargo% etcd-up %*
exit /b %errorlevel%
