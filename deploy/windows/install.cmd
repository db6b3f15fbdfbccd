@echo off
rem Copyright The Zastava Authors
rem SPDX-License-Identifier: Apache-2.0
rem
rem Installs the collector as a Windows service. Run it as an administrator:
rem
rem   install.cmd PROGRAM CONFIG ["FURTHER ARGUMENTS"]
rem
rem PROGRAM is otelcol-zastava-slim.exe or otelcol-zastava.exe, CONFIG its configuration, both as full paths without a quote
rem in them. The service is called zastava, or as ZASTAVA_SERVICE says, runs as LocalSystem, and starts with the machine.
rem This script does not start it: see docs/windows.md. uninstall.cmd removes it.
setlocal EnableExtensions DisableDelayedExpansion

set "program=%~1"
set "config=%~2"
set "more=%~3"
set "service=%ZASTAVA_SERVICE%"
if "%service%"=="" set "service=zastava"

if "%config%"=="" (
  echo Usage: install.cmd PROGRAM CONFIG ["FURTHER ARGUMENTS"]
  exit /b 2
)
if not exist "%program%" (
  echo There is no program "%program%".
  exit /b 2
)
if not exist "%config%" (
  echo There is no configuration "%config%".
  exit /b 2
)

rem Only administrators and the system may read the queue, the checkpoint and the log: they show what runs here.
set "data=%ProgramData%\Zastava"
if not exist "%data%" mkdir "%data%"
icacls "%data%" /inheritance:r /grant:r "*S-1-5-18:(OI)(CI)F" "*S-1-5-32-544:(OI)(CI)F" >nul
if errorlevel 1 (
  echo The permissions of "%data%" could not be set. Is this an administrator's prompt?
  exit /b 1
)

rem With these entries the event viewer shows the collector's lines unchanged.
reg add "HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\%service%" /v EventMessageFile /t REG_EXPAND_SZ /d "%%SystemRoot%%\System32\EventCreate.exe" /f >nul
reg add "HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\%service%" /v CustomSource /t REG_DWORD /d 1 /f >nul
reg add "HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\%service%" /v TypesSupported /t REG_DWORD /d 7 /f >nul

rem Both paths are quoted within the quoted value: otherwise Windows tries C:\Program.exe first for a program in
rem "C:\Program Files". sc requires the blank after each "=".
if not "%more%"=="" set "more= %more%"
sc create "%service%" binPath= "\"%program%\" --config \"%config%\" --feature-gates=extension.healthcheck.useComponentStatus%more%" start= auto DisplayName= "Zastava collector (%service%)"
if errorlevel 1 (
  echo The service could not be made.
  exit /b 1
)
sc description "%service%" "Observes the containers of this node for a security backend."

rem After a crash: restart in 5 s, then 30 s, then each minute. A day without a crash resets the count.
sc failure "%service%" reset= 86400 actions= restart/5000/restart/30000/restart/60000
if errorlevel 1 exit /b 1
rem An end with an error counts as a crash too. Wine's sc does not know this one.
sc failureflag "%service%" 1 >nul
if errorlevel 1 echo Recovery covers crashes only: "sc failureflag %service% 1" failed.

echo The service "%service%" is made. Start it with: sc start %service%
exit /b 0
